package packet

// startBOOTP begins the answer to a client that knows no message types (RFC
// 1534 section 2). It takes as much as it sent: 64 bytes of options in the 300
// bytes of RFC 951 and 1542, seldom more. Without a magic cookie in the request
// there is none in the answer, and no options.
func (w *Reply) startBOOTP(b []byte, req *Request) {
	w.buf, w.limit = b, min(max(len(req.raw), leastMessage)+relayed(req), largest-ipUDP)
	if req.bare {
		clear(b[headerSize:])
		w.limit = optionsStart
	}
}

package lb

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// download takes bytes until the time is over, then sends a FIN and takes the rest.
func (c *clients) download(last time.Duration) (total int64, err error) {
	err = c.bulk(wantDownload, last, func(s *slot, over bool) (done, more bool, err error) {
		for range turn {
			n, e := discard(s.fd, 8*chunk)
			switch {
			case e == unix.EAGAIN:
				return false, false, nil
			case e != 0:
				return false, false, fmt.Errorf("receive: %w", e)
			case n == 0 && !over:
				return false, false, errors.New("the download ended")
			case n == 0:
				return true, false, nil
			}
			total += int64(n)
		}
		return false, true, nil
	})
	return total, err
}

// upload sends bytes until the time is over, then a FIN, and waits for that of the server.
func (c *clients) upload(file int32, last time.Duration) (total int64, err error) {
	err = c.bulk(wantUpload, last, func(s *slot, over bool) (done, more bool, err error) {
		if over {
			n, e := receive(s.fd, c.buf[:])
			if e == unix.EAGAIN {
				return false, false, nil
			}
			if e != 0 || n > 0 {
				return false, false, fmt.Errorf("receive: %d bytes, %w", n, e)
			}
			return true, false, nil
		}
		for range turn {
			n, e := sendFile(s.fd, file, 0, chunk)
			if e == unix.EAGAIN {
				return false, false, nil
			}
			if e != 0 {
				return false, false, fmt.Errorf("send: %w", e)
			}
			total += int64(n)
		}
		return false, true, nil
	})
	return total, err
}

// bulk makes a transfer on every slot. move does a turn of it: before and after the time is over and the FIN sent.
func (c *clients) bulk(what byte, last time.Duration, move func(s *slot, over bool) (done, more bool, err error)) error {
	for i := range c.slots {
		if err := c.dial(i); err != nil {
			return err
		}
	}
	over, left := false, len(c.slots)
	var again, next []int
	step := func(i int) error {
		s := &c.slots[i]
		if s.fd < 0 {
			return nil
		}
		done, more, err := move(s, over)
		if done {
			closeSocket(s.fd)
			s.fd = -1
			left--
		}
		if more {
			next = append(next, i)
		}
		return err
	}
	for end := c.now() + last; left > 0; {
		if !over && c.now() >= end {
			over = true
			for i := range c.slots {
				_ = unix.Shutdown(int(c.slots[i].fd), unix.SHUT_WR)
				next = append(next, i)
			}
		}
		if c.now() > end+impatience {
			return fmt.Errorf("%d transfers do not end", left)
		}
		again, next = next, again[:0]
		for _, i := range again {
			if err := step(i); err != nil {
				return err
			}
		}
		patience := 100
		if len(next) > 0 {
			patience = 0
		}
		err := c.eachWithin(patience, func(i int, s *slot, ev uint32) error {
			if !s.busy && ev&unix.EPOLLOUT != 0 {
				if err := c.ask(s, what); err != nil {
					return err
				}
			}
			if s.busy && !slices.Contains(next, i) {
				return step(i)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Package rig is the stage of the end-to-end tests: a LAN in network
// namespaces, a configuration of examples/ moved to a temporary folder with
// made-up artifacts and ignition files, the real helperd binary as an
// unprivileged process, and machines with the MAC addresses of the file.
//
//	helper (192.168.67.2) ──┐
//	router (192.168.67.1) ──┤ lan0, a bridge in the router's namespace
//	machines, taps of VMs ──┘
//
// Every further network of the file is a bridge of the router, too: lan1 and
// so on. The router then carries packets between them and relays DHCP.
//
// A test takes what it needs:
//
//	r := rig.New(t, rig.Options{})
//	for _, name := range []string{"master-0", "master-1"} {
//		r.Machine(t, name).Serve(t) // a control plane that answers
//	}
//	r.Start(t)
//	r.Machine(t, "worker-0").Run(t, "curl", ...)
//
// There is no world behind the router: it answers DNS for example.org itself,
// as the upstream of the file's forwarder.
//
// Environment: HELPERD_BIN is the path of the binary to test, absolute;
// without it one is built.
// HELPERD_NO_SKIP=1 turns skips into failures.
package rig

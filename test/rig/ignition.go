package rig

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"testing"
	"time"
)

// writeIgnition writes bootstrap.ign, master.ign and worker.ign in the shape
// of openshift-install's: pointers to the machine config server with the
// cluster's root certificate, and the bootstrap's with files of its own. They
// are readable by the daemon alone, as cluster secrets are.
func writeIgnition(t testing.TB, c *Cluster) {
	t.Helper()
	must(t, os.MkdirAll(c.Ignition, 0o755))
	must(t, os.Chown(c.Ignition, uid, uid))
	ca := newCertificate(t, "root-ca", c.Zone(), time.Now().Add(24*time.Hour))
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]})
	url := "data:text/plain;charset=utf-8;base64," + base64.StdEncoding.EncodeToString(root)
	type object = map[string]any
	for _, role := range []string{"master", "worker"} {
		writeJSON(t, c.IgnitionFile(role), object{"ignition": object{
			"version":  "3.2.0",
			"config":   object{"merge": []object{{"source": "https://api-int." + c.Zone() + ":22623/config/" + role}}},
			"security": object{"tls": object{"certificateAuthorities": []object{{"source": url}}}},
		}})
	}
	secret := "data:text/plain;charset=utf-8;base64," + base64.StdEncoding.EncodeToString(noise(99, 200<<10))
	writeJSON(t, c.IgnitionFile("bootstrap"), object{
		"ignition": object{"version": "3.2.0"},
		"storage": object{"files": []object{
			{"path": "/opt/openshift/tls/root-ca.crt", "mode": 0o644, "contents": object{"source": url}},
			{"path": "/opt/openshift/auth/kubeconfig", "mode": 0o600, "contents": object{"source": secret}},
		}},
	})
}

func writeJSON(t testing.TB, path string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	must(t, os.WriteFile(path, b, 0o600))
	must(t, os.Chown(path, uid, uid))
}

package ignition

import (
	"encoding/json"

	"helperd/plan"
)

// merged is an ignition file of g.Node alone: it takes in the role's file
// whole and adds the node's name, and its network when it has no DHCP. What the role
// writes itself stays as the role writes it (Ignition, "Config Merging").
//
// The role's file goes along as a data URL: a URL of ours would be asked for
// at the node's first boot, when the gate may be closed.
func merged(g *plan.Ignition, role *file) ([]byte, error) {
	type object = map[string]any
	taken := "merge"
	if spec2(role.Version) {
		taken = "append"
	}
	var written []object
	write := func(path, content string, mode int) {
		f := object{"path": path, "mode": mode, "contents": object{"source": dataURL([]byte(content))}}
		if spec2(role.Version) {
			f["filesystem"] = "root"
		} else {
			f["overwrite"] = true
		}
		written = append(written, f)
	}
	write("/etc/hostname", g.Node.FQDN+"\n", 0o644)
	for _, k := range g.Keyfiles {
		write("/etc/NetworkManager/system-connections/"+k.Name+".nmconnection", k.Content, 0o600)
	}
	return json.Marshal(object{
		"ignition": object{"version": role.Version, "config": object{taken: []object{{"source": dataURL(role.body)}}}},
		"storage":  object{"files": written},
	})
}

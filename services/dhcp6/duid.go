package dhcp6

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/insomniacslk/dhcp/dhcpv6"
)

// duidFile is in the state folder.
const duidFile = "dhcp6.duid"

// serverID gives what clients know this server by: a DUID-UUID (RFC 6355) that
// is made once and kept in the state folder, whatever network card is changed.
// Without a folder it is a new one each time.
func serverID(folder string) (dhcpv6.DUID, error) {
	id := &dhcpv6.DUIDUUID{}
	_, _ = rand.Read(id.UUID[:])        // never fails
	id.UUID[6] = id.UUID[6]&0x0f | 0x40 // version 4
	id.UUID[8] = id.UUID[8]&0x3f | 0x80 // variant of RFC 9562
	if folder == "" {
		return id, nil
	}
	path := filepath.Join(folder, duidFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := renameio.WriteFile(path, []byte(hex.EncodeToString(id.ToBytes())+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("keep the server's DUID: %w", err)
		}
		return id, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the server's DUID: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err == nil {
		var kept dhcpv6.DUID
		if kept, err = dhcpv6.DUIDFromBytes(raw); err == nil {
			return kept, nil
		}
	}
	return nil, fmt.Errorf("%s is damaged: %w; remove it, and clients find a server with a new DUID when their leases end", path, err)
}

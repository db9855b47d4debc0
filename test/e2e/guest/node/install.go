package main

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// install does what dracut and coreos-installer do: image, ignition, disk.
func (n *node) install() {
	image, disk := n.args["coreos.live.rootfs_url"], n.args["coreos.inst.install_dev"]
	if n.args["coreos.inst"] == "yes" { // the installer of 4.5, which puts /dev/ before the name itself
		image, disk = n.args["coreos.inst.image_url"], "/dev/"+disk
	}
	for name, value := range map[string]string{
		"coreos.live.rootfs_url, or coreos.inst=yes with coreos.inst.image_url": image,
		"coreos.inst.install_dev":  n.args["coreos.inst.install_dev"],
		"coreos.inst.ignition_url": n.args["coreos.inst.ignition_url"],
		"rd.neednet":               n.args["rd.neednet"],
	} {
		if value == "" {
			n.check("arguments", "", fmt.Errorf("no %s in the kernel arguments", name))
			return
		}
	}
	n.check("arguments", "", nil)

	const file = "/run/image"
	size, err := head(image)
	n.check("image-head", fmt.Sprint(size, " bytes"), err)
	err = n.fetch(image, file)
	if err == nil {
		err = sizeIs(file, size)
	}
	n.check("image", path.Base(image), err)
	n.check("ignition", "", n.fetch(n.args["coreos.inst.ignition_url"], "/run/config.ign"))
	device, err := resolve(disk)
	if err == nil {
		err = writeDisk(device, file)
	}
	n.check("disk", disk+" is "+device, err)
}

var client = &http.Client{Timeout: 60 * time.Second}

// head asks for the size, as the installer does before it fetches.
func head(from string) (int64, error) {
	resp, err := client.Head(from)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength <= 0 {
		return 0, fmt.Errorf("HEAD %s: %s, content length %d", from, resp.Status, resp.ContentLength)
	}
	return resp.ContentLength, nil
}

// fetch gets a file and compares it with its e2e.sha256 argument. As
// coreos-installer does, it tries again after 408, 429 and 5xx, with longer
// and longer pauses, and takes every other refusal as final.
func (n *node) fetch(from, to string) error {
	u, err := url.Parse(from)
	if err != nil {
		return err
	}
	want := n.args["e2e.sha256."+path.Base(u.Path)]
	if want == "" {
		return fmt.Errorf("no e2e.sha256.%s in the kernel arguments", path.Base(u.Path))
	}
	for pause := time.Second; ; pause *= 2 {
		sum, again, err := get(from, to)
		switch {
		case err == nil && sum != want:
			return fmt.Errorf("%s: SHA-256 is %s, want %s", from, sum, want)
		case err == nil:
			return nil
		case !again || pause > 16*time.Second:
			return err
		}
		fmt.Println("E2E retry", err)
		time.Sleep(pause)
	}
}

// get fetches once; again says that a failure may pass.
func get(from, to string) (sum string, again bool, err error) {
	resp, err := client.Get(from)
	if err != nil {
		return "", true, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		again := resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500
		return "", again, fmt.Errorf("GET %s: %s: %s", from, resp.Status, strings.TrimSpace(string(body)))
	}
	f, err := os.Create(to)
	if err != nil {
		return "", false, err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), resp.Body); err != nil {
		return "", true, errors.Join(err, f.Close())
	}
	return hex.EncodeToString(h.Sum(nil)), false, f.Close()
}

func sizeIs(file string, size int64) error {
	info, err := os.Stat(file)
	if err == nil && info.Size() != size {
		err = fmt.Errorf("HEAD said %d bytes, GET gave %d", size, info.Size())
	}
	return err
}

// resolve gives the device behind /dev/disk/by-id/virtio-SERIAL, as udev does.
func resolve(disk string) (string, error) {
	serial, ok := strings.CutPrefix(disk, "/dev/disk/by-id/virtio-")
	if !ok {
		return disk, nil
	}
	files, err := filepath.Glob("/sys/block/*/serial")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == serial {
			return "/dev/" + filepath.Base(filepath.Dir(f)), nil
		}
	}
	return "", errors.Join(err, fmt.Errorf("no disk has the serial number %q", serial))
}

// writeDisk writes the image to the disk, unpacked if it is packed by gzip.
// The image of the test is that of a disk which says that it boots.
func writeDisk(device, file string) error {
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	image := bufio.NewReader(from)
	var content io.Reader = image
	if magic, err := image.Peek(2); err == nil && string(magic) == "\x1f\x8b" {
		if content, err = gzip.NewReader(image); err != nil {
			return err
		}
	}
	to, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, content)
	return errors.Join(err, to.Sync(), to.Close())
}

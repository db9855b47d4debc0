package daemon

import (
	"slices"
	"strings"

	"helperd/api"
	"helperd/plan"
)

// view is what people see of the configuration.
type view struct {
	plan       *plan.Plan // what is served; nil: nothing yet
	bytes      []byte     // of the configuration that it follows from
	generation uint64
	status     api.Configuration
}

func (d *Daemon) view() view {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// setState notes how the file stands to what is served; every look at the file ends here.
func (d *Daemon) setState(s api.FileState, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now.status.State, d.now.status.Errors = s, nil
	if err != nil {
		d.now.status.Errors = slices.DeleteFunc(strings.Split(err.Error(), "\n"), func(l string) bool { return l == "" })
	}
}

package api

import (
	"context"
	"net/http"
	"net/url"

	"helperd/services/leasing"
)

// Release ends the pool leases and the quarantine of an address or a MAC.
func (c *Client) Release(ctx context.Context, which string) (Released, error) {
	return tell[Released](ctx, c, "/v1/leases/"+url.PathEscape(which)+"/release")
}

// ExplainDHCP asks what a machine would get by DHCP now, and why.
func (c *Client) ExplainDHCP(ctx context.Context, q *leasing.Question) ([]leasing.Answer, error) {
	return ask[[]leasing.Answer](ctx, c, "/v1/dhcp/explain?"+q.Values().Encode())
}

func serveExplain(w http.ResponseWriter, r *http.Request, b Backend) {
	q, err := leasing.ParseQuestion(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	answers, err := b.ExplainDHCP(&q)
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, append([]leasing.Answer{}, answers...))
}

// Package reload holds the first sentence of the product to account: adding a
// node restarts nothing. All services are under load while the configuration
// changes, and nothing may be lost, reset or refused.
package reload

// Package ui serves the web pages of the helper on admin.listen, for everybody who
// reaches that address: what is shown there is health, and nothing can be changed.
//
// There is one page yet, the table of the balancer, where HAProxy had its statistics:
// with HAProxy's columns and words, and as CSV for those who collect it, at every path that
// ends in ";csv". It works without scripts and loads nothing from elsewhere.
package ui

// Package service lets the operating system's service manager hold a node: systemd on Linux, the service control manager on
// Windows.
//
// Hold runs the node under whatever has started this process and tells that manager how it fares; System installs, removes, starts
// and stops the service. What is done to a machine is worked out first, as a Plan that can be printed instead: `service install
// --dry-run`. The plans are pure and are tested on every platform; only what carries them out differs.
package service

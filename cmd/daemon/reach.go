package daemon

import (
	"scomconnector/cmd/settings"
	"scomconnector/poller/scom"
	"scomconnector/publisher"
)

// Consoles is what the settings say about the web consoles, secrets resolved, as a node would use it.
func Consoles(cfg *settings.Cluster) (scom.Config, error) { return scomConfig(cfg) }

// Destination is the same for the LAMs of a destination.
func Destination(cfg *settings.Cluster, d settings.Destination) (publisher.Config, error) {
	return destinationConfig(cfg, d)
}

// DiskFree is what this account may still write in a folder, in bytes; NaN where the system does not say.
func DiskFree(dir string) float64 { return diskFree(dir) }

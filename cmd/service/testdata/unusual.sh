#!/bin/sh
set -e

# what it writes to
install -d -m 0700 -o svc-moog /var/lib/second

# what it writes to
install -d -m 0700 -o svc-moog /var/log/second

# its settings and secrets, of which nobody else reads those that are kept from others
chown -R svc-moog: '/srv/second node'

# its data, should they be there already
chown -R svc-moog: /var/lib/second

# the unit
cat > /etc/systemd/system/second.service <<'END'
# Written by scomconnector service install.
[Unit]
Description=scomconnector: alerts from Microsoft SCOM to Moogsoft, closes back
Wants=network-online.target
After=network-online.target
# It is tried again for ever: who is paged wants it back, however long the cause lasts.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/opt/scomconnector/scomconnector run --node "/srv/second node/node.json" --config "/srv/second node/100%%.json"
User=svc-moog
# Whatever its exit code: a crash of Go, and what systemd's watchdog ends, have the 2 of wrong flags.
Restart=always
RestartSec=5
TimeoutStartSec=90
# A planned stop finishes the batch in flight and hands over within 10 s.
TimeoutStopSec=20
WatchdogSec=60
LimitNOFILE=65536
UMask=0077

# Everything else is read-only for it.
StateDirectory=second
StateDirectoryMode=0700
ReadWritePaths=-/var/log/second
ReadWritePaths=-/mnt/claims
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
InaccessiblePaths=-/dev/shm -/dev/mqueue -/run/lock
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
END

# make it known
systemctl daemon-reload

# start it with the machine
systemctl enable second
# Installed, and started with the machine. Start it now: scomconnector service start --name second

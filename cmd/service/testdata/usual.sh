#!/bin/sh
set -e

# the program; the one that runs keeps its own copy until it is restarted
install -m 0755 /home/me/unpacked/scomconnector /usr/local/bin/scomconnector

# an account for it alone, which nobody can log on with
useradd --system --user-group --no-create-home --home-dir /etc/scomconnector/data --shell /usr/sbin/nologin scomconnector

# what it writes to
install -d -m 0700 -o scomconnector /etc/scomconnector/data

# its settings and secrets, of which nobody else reads those that are kept from others
chown -R scomconnector: /etc/scomconnector

# the unit
cat > /etc/systemd/system/scomconnector.service <<'END'
# Written by scomconnector service install.
[Unit]
Description=scomconnector: alerts from Microsoft SCOM to Moogsoft, closes back
Wants=network-online.target
After=network-online.target
# It is tried again for ever: who is paged wants it back, however long the cause lasts.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/local/bin/scomconnector run --node /etc/scomconnector/node.json
User=scomconnector
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
ReadWritePaths=-/etc/scomconnector/data
CapabilityBoundingSet=
AmbientCapabilities=
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
systemctl enable scomconnector
# Installed, and started with the machine. Start it now: scomconnector service start

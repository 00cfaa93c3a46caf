#!/bin/sh
set -e

# stop it, and start it with the machine no more
systemctl disable --now second

# the unit
rm -f /etc/systemd/system/second.service

# make it known
systemctl daemon-reload
# Removed. Settings, data, the program and the account are left as they are.

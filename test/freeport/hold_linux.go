package freeport

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// hold binds a socket and never listens. With SO_REUSEADDR on both sides, which Go and every server here set, Linux lets another socket bind to the same port and listen,
// and still counts the port as in use when it looks for one itself (ip(7), "ip_local_port_range"; inet_csk_find_open_port in the kernel).
func hold() (address string, release func(), err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
	)
	at, nameErr := unix.Getsockname(fd)
	if err = errors.Join(err, nameErr); err != nil {
		return "", nil, errors.Join(err, unix.Close(fd))
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port), func() { _ = unix.Close(fd) }, nil
}

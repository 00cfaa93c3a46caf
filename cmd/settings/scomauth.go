package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"scomconnector/poller/scom"
)

// checkCredentials looks at how the server is logged on to, and that nothing is given that would not be used.
func (s *ScomServer) checkCredentials(r *reader, path string, own bool) {
	if own {
		s.checkOwnAccount(r, path)
	}
	if strings.Contains(s.LoginForm, ":") {
		r.fault(path+".LoginForm", "the text before the first colon, such as (Network)", "has a colon in it")
	}
	belongs := func(key, auth string, given bool) {
		if given {
			r.fault(path+"."+key, "", "is used with Auth %s only: take it out", auth)
		}
	}
	belongs("LoginForm", scom.AuthNetwork, s.LoginForm != "" && s.Auth != scom.AuthNetwork)
	notKerberos := s.Auth != scom.AuthKerberos
	belongs("KeytabFile", scom.AuthKerberos, s.KeytabFile != "" && notKerberos)
	belongs("Krb5ConfFile", scom.AuthKerberos, s.Krb5ConfFile != "" && notKerberos)
	belongs("ServicePrincipalName", scom.AuthKerberos, s.ServicePrincipalName != "" && notKerberos && !own)
	if service, host, ok := strings.Cut(s.ServicePrincipalName, "/"); s.ServicePrincipalName != "" && (!ok || service == "" || host == "" || strings.ContainsAny(host, "/@ ")) {
		r.fault(path+".ServicePrincipalName", "SERVICE/HOST, such as HTTP/scom1.contoso.com", "%q is no name of a service", clip(s.ServicePrincipalName))
	}
	if own {
		return
	}
	if s.UserId == "" {
		r.fault(path+".UserId", "", "is empty: name the account that reads alerts")
	}
	// A refused Password is given but zero; it has its fault already.
	none := s.Password.IsZero() && !r.faulted(path+".Password")
	if s.Auth == scom.AuthKerberos {
		s.checkKerberos(r, path, none)
	} else if none {
		r.fault(path+".Password", acceptedSecret, "is empty")
	}
}

// checkOwnAccount: the original's key stands for Windows authentication, whatever the default of ours is.
func (s *ScomServer) checkOwnAccount(r *reader, path string) {
	switch {
	case !r.given(path + ".Auth"):
		s.Auth = scom.AuthWindows
	case s.Auth == scom.AuthNetwork:
		r.fault(path+".Auth", "windows, kerberos", "network needs a UserId with its Password, and WinAuthOverride is true")
	}
}

func (s *ScomServer) checkKerberos(r *reader, path string, noPassword bool) {
	if s.Domain == "" {
		r.fault(path+".Domain", "", "is empty: with Auth kerberos it is the realm, such as CONTOSO.COM")
	}
	if strings.ContainsAny(s.UserId, `@\`) {
		r.fault(path+".UserId", "the account's name alone", `%q has an @ or a \ in it: the realm stands in Domain`, clip(s.UserId))
	}
	switch {
	case s.KeytabFile == "" && noPassword:
		r.fault(path+".Password", acceptedSecret, "is empty, and so is KeytabFile: give one of them")
	case s.KeytabFile != "" && !s.Password.IsZero():
		r.fault(path+".KeytabFile", "", "is given beside Password: keep one of them")
	}
}

// systemKrb5Conf is used where Krb5ConfFile names none and the machine has it.
const systemKrb5Conf = "/etc/krb5.conf"

// Kerberos reads what Auth kerberos needs on this machine: the account's keys, nil where the password is used, and the text of
// krb5.conf, empty where the realm's servers are looked up in DNS.
func (s *ScomServer) Kerberos() (keytab []byte, krb5Conf string, err error) {
	if s.Auth != scom.AuthKerberos {
		return nil, "", nil
	}
	if s.KeytabFile != "" {
		if keytab, err = readBounded(s.KeytabFile); err != nil {
			return nil, "", fmt.Errorf("KeytabFile: %w", err)
		}
	}
	path := s.Krb5ConfFile
	if path == "" && runtime.GOOS != "windows" {
		path = systemKrb5Conf
	}
	if path == "" {
		return keytab, "", nil
	}
	text, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) && s.Krb5ConfFile == "" {
		return keytab, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("Krb5ConfFile: %w", err)
	}
	return keytab, string(text), nil
}

func readBounded(path string) ([]byte, error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, most)
	}
	return os.ReadFile(path)
}

// kerberos looks at the files of a server with Auth kerberos.
func (c *checker) kerberos(path string, s ScomServer) {
	if s.Auth != scom.AuthKerberos {
		return
	}
	keytab, conf, err := s.Kerberos()
	key := path + ".Auth"
	switch {
	case err == nil:
		err = scom.CheckKerberos(s.Domain, s.UserId, keytab, conf)
	case s.KeytabFile != "" && strings.HasPrefix(err.Error(), "KeytabFile"):
		key = path + ".KeytabFile"
		err = errors.Unwrap(err)
	default:
		key = path + ".Krb5ConfFile"
		err = errors.Unwrap(err)
	}
	if err != nil {
		c.fault(key, "%v", err)
		return
	}
	if s.KeytabFile != "" {
		c.private(path+".KeytabFile", s.KeytabFile)
	}
}

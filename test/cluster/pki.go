package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// pki is the certificate authority of one cluster and the directory of everything it signed.
type pki struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// A cluster is gone long before its certificates are.
const certificateLife = 365 * 24 * time.Hour

func (p *pki) certFile(name string) string { return filepath.Join(p.dir, name+".crt") }
func (p *pki) keyFile(name string) string  { return filepath.Join(p.dir, name+".key") }

// The names of the files in the pki directory.
const (
	authorityName     = "ca"
	servingAPIName    = "kube-apiserver"  // what kube-apiserver shows to its callers
	servingLocalName  = "loopback"        // what the others show on 127.0.0.1
	serviceTokensName = "service-account" // signs service account tokens
	etcdClientName    = "etcd-client"
	kubeletClientName = "kubelet-client" // kube-apiserver towards kubelets
)

// openPKI loads the authority in dir, or makes a new one.
func openPKI(dir string) (*pki, error) {
	p := &pki{dir: dir}
	pair, err := tls.LoadX509KeyPair(p.certFile(authorityName), p.keyFile(authorityName))
	if errors.Is(err, fs.ErrNotExist) {
		return p, p.createAuthority()
	}
	if err != nil {
		return nil, fmt.Errorf("load the certificate authority: %w", err)
	}
	p.cert = pair.Leaf
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key %s cannot sign", p.keyFile(authorityName))
	}
	p.key = signer
	return p, nil
}

func (p *pki) createAuthority() error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("make the pki directory: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "retinue local cluster"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	return p.sign(authorityName, template)
}

// serve makes a serving certificate for the given addresses and names, unless there is one. Its holder may also be a
// client, because etcd calls itself.
func (p *pki) serve(name string, addresses []netip.Addr, names ...string) error {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    names,
	}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.IP(address.AsSlice()))
	}
	return p.signOnce(name, template)
}

// client makes a client certificate for a Kubernetes user and its groups, unless there is one.
func (p *pki) client(name, user string, groups ...string) error {
	return p.signOnce(name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (p *pki) signOnce(name string, template *x509.Certificate) error {
	if _, err := os.Stat(p.certFile(name)); err == nil {
		return nil
	}
	return p.sign(name, template)
}

// sign writes NAME.key and NAME.crt. Without an authority the certificate signs itself and becomes the authority.
func (p *pki) sign(name string, template *x509.Certificate) error {
	key, err := p.createKey(name)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("serial number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = template.NotBefore.Add(certificateLife)
	parent, parentKey := p.cert, p.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	if p.cert == nil {
		if p.cert, err = x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("certificate %s: %w", name, err)
		}
		p.key = key
	}
	return writePEM(p.certFile(name), "CERTIFICATE", der)
}

// createKey writes NAME.key.
func (p *pki) createKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return key, writePEM(p.keyFile(name), "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", kind, err)
	}
	return nil
}

// createPKI makes everything the components need, keeping what exists.
func createPKI(config Config) (*pki, error) {
	p, err := openPKI(filepath.Join(config.Dir, "pki"))
	if err != nil {
		return nil, err
	}
	services, err := netip.ParsePrefix(config.ServiceCIDR)
	if err != nil {
		return nil, fmt.Errorf("ServiceCIDR: %w", err)
	}
	address, err := netip.ParseAddr(config.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	serviceAddress := services.Masked().Addr().Next() // of the service `kubernetes`
	if _, err := os.Stat(p.keyFile(serviceTokensName)); errors.Is(err, fs.ErrNotExist) {
		if _, err := p.createKey(serviceTokensName); err != nil {
			return nil, err
		}
	}
	return p, errors.Join(
		p.serve(servingAPIName, []netip.Addr{address, loopback, serviceAddress}, "localhost",
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
		p.serve(servingLocalName, []netip.Addr{loopback}, "localhost"),
		p.client(etcdClientName, "kube-apiserver"),
		p.client(kubeletClientName, "kube-apiserver-kubelet-client", "system:masters"),
	)
}

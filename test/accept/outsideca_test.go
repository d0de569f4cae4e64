// SPDX-License-Identifier: Apache-2.0

package accept

import (
	"os"
	"testing"
)

// authorities is an openssl CA with an intermediate, as a customer might have.
const authorities = `
[ca]
default_ca = inter
[inter]
database = index.txt
new_certs_dir = .
certificate = inter.pem
private_key = inter.key
serial = serial
crlnumber = crlnumber
default_md = sha256
default_days = 1
default_crl_days = 1
policy = any
x509_extensions = leaf
unique_subject = no
[any]
commonName = supplied
[top]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[below]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectAltName = URI:spiffe://example.org/workload/app1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[crl]
authorityKeyIdentifier = keyid
`

// certify makes root, intermediate and a leaf for app1, and empty lists.
func (p *person) certify() {
	p.t.Helper()
	p.write("ca.cnf", authorities)
	p.write("index.txt", "")
	p.write("root.txt", "")
	p.write("serial", "1000\n")
	p.write("crlnumber", "01\n")
	for _, line := range []string{
		"for n in root inter app1; do openssl ecparam -name prime256v1 -genkey -noout -out $n.key; done",
		"openssl req -x509 -new -key root.key -subj /CN=root -days 30 -config ca.cnf -extensions top -out root.pem",
		"openssl req -new -key inter.key -subj /CN=inter -config ca.cnf -out inter.csr",
		"openssl x509 -req -in inter.csr -CA root.pem -CAkey root.key -set_serial 2 -days 30 -extfile ca.cnf -extensions below -out inter.pem",
		"openssl req -new -key app1.key -subj /CN=app1 -config ca.cnf -out app1.csr",
		"openssl ca -batch -notext -config ca.cnf -in app1.csr -out leaf.pem",
		"cat leaf.pem inter.pem > app1.pem",
		"sed 's/^database.*/database = root.txt/; s/inter.pem/root.pem/; s/inter.key/root.key/' ca.cnf > root.cnf",
		"openssl ca -config root.cnf -gencrl -crlexts crl -out root.crl",
	} {
		p.shell(line).ends(p.t, 0)
	}
}

// publish gives the server the lists as they are now.
func (p *person) publish() {
	p.t.Helper()
	p.shell("openssl ca -config ca.cnf -gencrl -crlexts crl -out inter.crl && cat inter.crl root.crl > new.crl && mv new.crl server/pki/outside.crl").ends(p.t, 0)
}

func TestOutsideCAWithRevocationList(t *testing.T) {
	t.Parallel()
	made := newPerson(t)
	made.certify()
	d := installed(t, "--ca", made.path("root.pem"), "--crl")
	for _, name := range []string{"ca.cnf", "root.cnf", "index.txt", "root.txt", "serial", "crlnumber", "inter.pem", "inter.key", "root.pem", "root.key", "root.crl", "leaf.pem", "app1.csr", "app1.pem", "app1.key"} {
		d.write(name, made.read(name))
	}
	d.admin("key", "create", tourKey, "--allow", "app1").ends(t, 0)
	d.admin("client", "invite", "app1", "-o", "app1.invite").ends(t, 0)
	d.run("client", "enroll", "app1.invite").refuses(t) // this CA's certificates don't come from the server
	d.do("client", "enroll", "app1.invite", "--cert", "app1.pem", "--key", "app1.key")

	d.write("in", "text")
	encrypt := []string{"encrypt", "--key", tourKey, "-o", "out.clv", "in"}
	d.run(encrypt...).refuses(t) // no list, no certificate
	d.absent("out.clv")
	d.publish()
	d.do(encrypt...)
	if err := os.Remove(d.path("out.clv")); err != nil {
		t.Fatal(err)
	}

	d.write("good.pem", d.read("app1.pem"))
	d.shell("openssl ca -batch -notext -config ca.cnf -startdate 20250101000000Z -enddate 20250102000000Z -in app1.csr -out old.pem && cat old.pem inter.pem > app1.pem").ends(t, 0)
	d.run(encrypt...).refuses(t, "expired")
	d.absent("out.clv")
	d.write("app1.pem", d.read("good.pem")) // the files are read anew
	d.do(encrypt...)
	if err := os.Remove(d.path("out.clv")); err != nil {
		t.Fatal(err)
	}

	d.shell("openssl ca -config ca.cnf -revoke leaf.pem").ends(t, 0)
	d.publish()
	d.run(encrypt...).refuses(t)
	d.absent("out.clv")
	d.admin("status").ends(t, 0) // only the workload is out
}

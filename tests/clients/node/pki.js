// Certificates made by the openssl command, nothing of Linarite's own.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const CONFIGURATION = `
[req]
distinguished_name = name
prompt = no
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
`;

/** Makes certificates in one directory; each is `{ file, keyFile, cert, key }`. */
export class Pki {
  #directory;
  #configuration;
  #made = 0;

  constructor(directory) {
    this.#directory = directory;
    this.#configuration = join(directory, "openssl.cnf");
    writeFileSync(this.#configuration, CONFIGURATION);
  }

  root(name) {
    const [file, keyFile] = this.#key();
    this.#openssl("req", "-new", "-x509", "-key", keyFile, "-subj", `/CN=${name}`,
      "-days", "30", "-extensions", "authority", "-out", file);
    return read(file, keyFile);
  }

  intermediate(name, issuer) {
    return this.#signed(name, issuer, "authority");
  }

  leaf(commonName, issuer) {
    return this.#signed(commonName, issuer, "leaf");
  }

  #signed(name, issuer, kind) {
    const [file, keyFile] = this.#key();
    const request = `${file}.csr`;
    this.#openssl("req", "-new", "-key", keyFile, "-subj", `/CN=${name}`, "-out", request);
    this.#openssl("x509", "-req", "-in", request, "-CA", issuer.file, "-CAkey", issuer.keyFile,
      "-set_serial", `0x${randomBytes(12).toString("hex")}`, "-days", "30", "-sha256",
      "-extfile", this.#configuration, "-extensions", kind, "-out", file);
    return read(file, keyFile);
  }

  #key() {
    this.#made += 1;
    const path = join(this.#directory, String(this.#made));
    this.#openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", `${path}.key`);
    return [`${path}.pem`, `${path}.key`];
  }

  #openssl(...words) {
    execFileSync("openssl", words, {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, OPENSSL_CONF: this.#configuration },
    });
  }
}

function read(file, keyFile) {
  return { file, keyFile, cert: readFileSync(file, "utf8"), key: readFileSync(keyFile, "utf8") };
}

//! The broker that is compared with: Debian's mosquitto, in a process of its own.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use linarite::pki::Pki;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::common::stage::{HUB, ROOT};

/// Where Debian keeps it, which is not on everybody's path.
const PROGRAMS: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

/// A running mosquitto; ended, and its folder removed, when dropped.
pub(crate) struct Mosquitto {
    child: Child,
    folder: PathBuf,
    /// Listens for TLS with client certificates.
    pub(crate) tls: SocketAddr,
    /// Listens for bare TCP.
    pub(crate) plain: SocketAddr,
    /// The CA that signed its certificate.
    pub(crate) ca_der: Vec<u8>,
}

impl Mosquitto {
    /// Starts it; none where it is not installed. It trusts the root of `pki`.
    pub(crate) async fn start(pki: &Pki) -> anyhow::Result<Option<Self>> {
        let folder = std::env::temp_dir().join(format!("linarite-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let (tls, plain) = (free()?, free()?);
        let ca_der = write_files(&folder, pki, tls, plain)?;
        for program in PROGRAMS {
            let started = Command::new(program)
                .arg("-c")
                .arg(folder.join("mosquitto.conf"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            match started {
                Ok(child) => {
                    let broker = Self {
                        child,
                        folder,
                        tls,
                        plain,
                        ca_der,
                    };
                    broker.wait().await?;
                    return Ok(Some(broker));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).context("mosquitto does not start"),
            }
        }
        fs::remove_dir_all(&folder)?;
        Ok(None)
    }

    /// Its number in the system.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    async fn wait(&self) -> anyhow::Result<()> {
        for _ in 0..100 {
            if TcpStream::connect(self.plain).is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("mosquitto does not listen at {}", self.plain)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port of loopback that nobody listens on.
fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn write_files(
    folder: &std::path::Path,
    pki: &Pki,
    tls: SocketAddr,
    plain: SocketAddr,
) -> anyhow::Result<Vec<u8>> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec![HUB.to_owned()])?.signed_by(&key, &ca)?;
    let file = |name: &str| folder.join(name);
    fs::write(file("server.pem"), leaf.pem())?;
    fs::write(file("server.key"), key.serialize_pem())?;
    fs::write(file("devices.pem"), pki.certificate_pem(ROOT)?)?;
    let path = |name: &str| file(name).display().to_string();
    // As many queued and unacknowledged messages as it likes; nothing on disk.
    let configuration = format!(
        "user root\npersistence false\nlog_dest none\nmax_connections -1\nmax_keepalive 65535\n\
         allow_anonymous true\nmax_inflight_messages 0\n\
         listener {} 127.0.0.1\nallow_anonymous true\n\
         listener {} 127.0.0.1\nallow_anonymous true\ncafile {}\ncertfile {}\nkeyfile {}\n\
         require_certificate true\ntls_version tlsv1.3\n",
        plain.port(),
        tls.port(),
        path("devices.pem"),
        path("server.pem"),
        path("server.key"),
    );
    fs::write(file("mosquitto.conf"), configuration)?;
    Ok(ca.der().to_vec())
}

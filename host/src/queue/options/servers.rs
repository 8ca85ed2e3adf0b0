//! Where the servers are: hosts, addresses and ports, and what stands in for them where the string names none.

use std::net::IpAddr;
use std::path::Path;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::super::{QueueError, complaint};
use super::given::{Given, Variables};

const PORT: u16 = 5432;
/// Where servers of this machine have their socket: Debian's folder, and Postgres's own.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

pub(super) fn apply(config: &mut Config, given: &Given, variables: Variables<'_>) -> Result<(), QueueError> {
    let usual = match variables("PGPORT") {
        Some(port) => port.trim().parse().map_err(|_| QueueError::Url("PGPORT is no port".to_owned()))?,
        None => PORT,
    };
    let ports = list(given.text("port")?, |port| match port {
        "" => Some(usual),
        port => port.parse().ok().filter(|port| *port > 0),
    });
    let ports = ports.ok_or_else(|| complaint::impossible("port"))?;
    let ports = if ports.is_empty() { vec![usual] } else { ports };
    let addresses = list(given.text("hostaddr")?, |address| address.parse::<IpAddr>().ok());
    let addresses = addresses.ok_or_else(|| complaint::impossible("hostaddr"))?;
    let hosts = match given.text("host")?.map(str::to_owned) {
        Some(hosts) => hosts,
        // The name is what a certificate is compared with.
        None if !addresses.is_empty() => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        None if given.text("dbname")?.is_none() => return Err(QueueError::Url("it names no host".to_owned())),
        None => variables("PGHOST").unwrap_or_default(),
    };
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    let count = hosts.len();
    for (what, other) in [("addresses", addresses.len()), ("ports", ports.len())] {
        if other != count && !(what == "ports" && other == 1) && other > 0 {
            return Err(QueueError::Url(format!("it has hosts and {what} of different number: {count} and {other}")));
        }
    }
    for (place, host) in hosts.iter().enumerate() {
        match *host {
            "" => config.host(socket_folder(ports.get(place).or(ports.first()).copied().unwrap_or(usual))),
            host => {
                complaint::check_name("host", host)?;
                config.host(host)
            }
        };
    }
    // An address counts in place of a host, and a socket has none.
    if !addresses.is_empty() && config.get_hosts().iter().any(|host| !matches!(host, Host::Tcp(_))) {
        return Err(QueueError::Url("it has a hostaddr for a socket; leave one of them out".to_owned()));
    }
    for port in ports {
        config.port(port);
    }
    for address in addresses {
        config.hostaddr(address);
    }
    Ok(())
}

/// Entries between commas; none for no text.
fn list<T>(text: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.map_or_else(|| Some(Vec::new()), |text| text.split(',').map(|entry| read(entry.trim())).collect())
}

/// The folder that has a socket for this port; Debian's where none has.
fn socket_folder(port: u16) -> &'static str {
    let has_socket = |folder: &&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
    let [usual, _] = SOCKETS;
    SOCKETS.into_iter().find(has_socket).unwrap_or(usual)
}

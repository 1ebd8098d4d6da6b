//! The address of the database, read far enough to name what is wrong with it, and to put the
//! security guide's password into it. Options are for the driver, which knows them; no fault shows
//! any part of the text, since what is misplaced may be the password.

use ems_store::mongo::Address;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The database where none is named.
const DATABASE: &str = "ems";

const UNENCODED: &str = "has a user or password with a character that must be percent-encoded, such as \
                         %40 for '@'";

/// `mongodb://user:password@host:port,host:port/database?options`, in parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MongoUri<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    /// Hosts, database and options, as they were.
    place: &'a str,
    database: &'a str,
}

impl<'a> MongoUri<'a> {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.starts_with("mongodb+srv://") {
            return Err("is a mongodb+srv:// address: name the hosts in a mongodb:// one");
        }
        let rest = text.strip_prefix("mongodb://");
        let rest = rest.ok_or("does not begin with mongodb://")?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (before, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let path = after.strip_prefix('/').unwrap_or(after);
        let database = path.split('?').next().unwrap_or_default();
        if database.contains('@') {
            return Err(UNENCODED);
        }
        let (login, hosts) = match before.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, before),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            Some((user, password)) => (Some(user), Some(password).filter(|text| !text.is_empty())),
            None => (None, None),
        };
        if user.is_some_and(str::is_empty) {
            return Err("has an '@' and no user before it");
        }
        if !user.into_iter().chain(password).all(is_encoded) {
            return Err(UNENCODED);
        }
        if !hosts.split(',').all(is_host) {
            return Err("has no host, or one that is no host:port");
        }
        let place = rest.get(rest.len() - hosts.len() - after.len()..);
        Ok(Self {
            user,
            password,
            place: place.unwrap_or_default(),
            database: if database.is_empty() {
                DATABASE
            } else {
                database
            },
        })
    }

    /// The database that holds the data.
    pub fn database(&self) -> &str {
        self.database
    }

    /// The address, with a password for a user who has none.
    ///
    /// # Errors
    /// There is a password, and no user whose it could be.
    pub fn address(&self, password: Option<&str>) -> Result<Address, &'static str> {
        self.whole(password).map(Address::new)
    }

    fn whole(&self, password: Option<&str>) -> Result<String, &'static str> {
        let encoded = password.map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string());
        let login = match (self.user, self.password.or(encoded.as_deref())) {
            (Some(user), Some(password)) => format!("{user}:{password}@"),
            (Some(user), None) => format!("{user}@"),
            (None, None) => String::new(),
            (None, Some(_)) => return Err("is set, and store.mongo_uri names no user"),
        };
        Ok(format!("mongodb://{login}{}", self.place))
    }
}

/// Whether a user or a password is as it may stand in an address (RFC 3986, section 3.2.1).
fn is_encoded(text: &str) -> bool {
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return true,
            [b'%', one, two, after @ ..] if one.is_ascii_hexdigit() && two.is_ascii_hexdigit() => {
                after
            }
            [b'%' | b'/' | b'?' | b'#' | b'[' | b']' | b'@' | b':', ..] => return false,
            [byte, after @ ..] if byte.is_ascii_graphic() => after,
            _ => return false,
        };
    }
}

/// Whether a text is `host`, `host:port` or `[address]:port`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"@:[]/?#".contains(&byte);
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_named = inner.map_or_else(
        || !host.is_empty() && host.bytes().all(plain),
        |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
    );
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    is_named && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(uri: &str, password: Option<&str>) -> String {
        let uri = MongoUri::parse(uri).unwrap();
        uri.whole(password).unwrap()
    }

    #[test]
    fn a_password_is_put_where_a_user_has_none() {
        for (uri, expected) in [
            (
                "mongodb://ems@db1:27018,db2/ems?tls=true",
                "mongodb://ems:p%40%3A%2F%25@db1:27018,db2/ems?tls=true",
            ),
            ("mongodb://ems:@db", "mongodb://ems:p%40%3A%2F%25@db"),
            (
                "mongodb://e%40s@[::1]:1/?a=b",
                "mongodb://e%40s:p%40%3A%2F%25@[::1]:1/?a=b",
            ),
            // One that is there stays.
            ("mongodb://ems:own@db/ems", "mongodb://ems:own@db/ems"),
        ] {
            assert_eq!(whole(uri, Some("p@:/%")), expected);
        }
        assert_eq!(whole("mongodb://ems@db/x", None), "mongodb://ems@db/x");
        assert_eq!(whole("mongodb://db?a=b", None), "mongodb://db?a=b");
        let nobody = MongoUri::parse("mongodb://db/ems").unwrap();
        assert!(nobody.whole(Some("p")).unwrap_err().contains("no user"));
    }

    #[test]
    fn names_the_database() {
        for (uri, database) in [
            ("mongodb://db", "ems"),
            ("mongodb://db/", "ems"),
            ("mongodb://db/?tls=true", "ems"),
            ("mongodb://a:b@db:1,db:2/other?tls=true", "other"),
        ] {
            assert_eq!(MongoUri::parse(uri).unwrap().database(), database);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_of_it_shown() {
        for (uri, fault) in [
            ("hunter2", "does not begin"),
            ("redis://hunter2", "does not begin"),
            ("mongodb+srv://db", "mongodb+srv"),
            ("mongodb://", "no host"),
            ("mongodb://ems:x@", "no host"),
            ("mongodb://db1,,db2", "no host"),
            ("mongodb://db:port", "no host"),
            ("mongodb://db:0", "no host"),
            ("mongodb://db:65536", "no host"),
            ("mongodb://[::g]", "no host"),
            ("mongodb://:x@db", "no user"),
            ("mongodb://ems:hunter/2@db", "percent-encoded"),
            ("mongodb://ems:hunter@2@db", "percent-encoded"),
            ("mongodb://ems:hunter:2@db", "percent-encoded"),
            ("mongodb://ems:hunter%2@db", "percent-encoded"),
            ("mongodb://ems:hunter 2@db", "percent-encoded"),
        ] {
            let found = MongoUri::parse(uri).err().unwrap_or_default();
            assert!(found.contains(fault), "{uri}: {found}");
            assert!(!found.contains("hunter"), "{found}");
        }
    }
}

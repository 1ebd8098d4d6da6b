//! Mail: an alert as a message over SMTP, with STARTTLS (RFC 3207) or TLS from the start (RFC 8314).

use std::{path::Path, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};

use super::{message, place::Place, spool::Waiting};

const WITHIN: Duration = Duration::from_secs(30);

/// A mail server, and whom it is to bring mail to.
#[derive(Clone)]
pub(crate) struct Email {
    place: Place,
    from: Mailbox,
    to: Vec<Mailbox>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Email")
    }
}

/// Whether a text is an address that mail can go to.
pub(crate) fn is_mailbox(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

/// How a server is spoken to.
pub(super) struct Security<'a> {
    pub(super) starttls: bool,
    pub(super) ca: Option<&'a Path>,
    pub(super) login: Option<(&'a str, &'a str)>,
}

impl Email {
    pub(super) fn new(
        place: Place,
        security: &Security<'_>,
        (from, to): (&str, &[String]),
    ) -> Result<Self, String> {
        let parse = |text: &str| {
            text.parse::<Mailbox>()
                .map_err(|_| format!("{text:?} is no e-mail address"))
        };
        let tls = match (place.scheme.as_str(), security.starttls) {
            ("smtps", _) => Tls::Wrapper(parameters(&place.host, security.ca)?),
            (_, true) => Tls::Required(parameters(&place.host, security.ca)?),
            _ => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&place.host)
            .port(place.port)
            .tls(tls)
            .hello_name(ClientId::Domain("localhost".to_owned()))
            .timeout(Some(WITHIN));
        if let Some((user, password)) = security.login {
            builder = builder.credentials(Credentials::new(user.to_owned(), password.to_owned()));
        }
        Ok(Self {
            from: parse(from)?,
            to: to.iter().map(|to| parse(to)).collect::<Result<_, _>>()?,
            transport: builder.build(),
            place,
        })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Sends an alert; what went wrong otherwise.
    pub(super) async fn send(&self, waiting: &Waiting, instance: &str) -> Result<(), String> {
        let subject = format!(
            "[EMS] {}",
            message::plain(&message::summary(&waiting.alert))
        );
        let subject: String = subject.chars().take(200).collect();
        let domain = self.from.email.domain();
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(subject)
            // The same over retries, so that a mail that came twice is seen to be one.
            .message_id(Some(format!("<{}@{domain}>", waiting.id)))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let mail = builder.body(message::text(waiting, instance));
        let mail = mail.map_err(|error| error.to_string())?;
        let sent = self.transport.send(mail).await;
        sent.map(drop).map_err(|error| chain(&error))
    }
}

fn parameters(host: &str, ca: Option<&Path>) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(ca) = ca {
        let pem =
            std::fs::read(ca).map_err(|error| format!("ca_file {}: {error}", ca.display()))?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|_| format!("ca_file {} holds no PEM certificate", ca.display()))?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| chain(&error))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    message::plain(&text)
}

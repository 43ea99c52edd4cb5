//! A mail server and receivers of webhooks that behave as badly as real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Longer than the outbox function waits in these tests.
const TOO_LONG: Duration = Duration::from_millis(2500);

/// How a receiver behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// Takes everything.
    Well,
    /// Hangs up on everybody.
    Down,
    /// Takes it, and answers when nobody waits any more.
    Slow,
    /// Takes it, and then says or does that it has not.
    Forgetful,
    /// Answers with this status (HTTP, with a `Retry-After` of 120) or reply (SMTP, to the recipient).
    Refusing(u16),
    /// Sends callers elsewhere.
    Redirecting(String),
}

struct Inner<T> {
    mood: Mutex<Mood>,
    taken: Mutex<Vec<T>>,
}

/// A receiver on a port of its own, for as long as the process lives.
pub struct Receiver<T> {
    pub port: u16,
    inner: Arc<Inner<T>>,
}

impl<T: Clone + Send + 'static> Receiver<T> {
    fn start(serve: fn(TcpStream, &Inner<T>) -> Result<()>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let inner = Arc::new(Inner {
            mood: Mutex::new(Mood::Well),
            taken: Mutex::new(Vec::new()),
        });
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = Arc::clone(&shared);
                // Whoever hangs up in the middle is the test's point.
                thread::spawn(move || drop(serve(stream, &inner)));
            }
        });
        Ok(Self { port, inner })
    }

    pub fn be(&self, mood: Mood) {
        *self.inner.mood.lock().unwrap() = mood;
    }

    /// All that was taken so far.
    pub fn taken(&self) -> Vec<T> {
        self.inner.taken.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.inner.taken.lock().unwrap().clear();
    }
}

impl<T> Inner<T> {
    fn mood(&self) -> Mood {
        self.mood.lock().unwrap().clone()
    }

    fn take(&self, thing: T) {
        self.taken.lock().unwrap().push(thing);
    }
}

/// A mail that a server took.
#[derive(Debug, Clone)]
pub struct Mail {
    pub recipients: Vec<String>,
    pub text: String,
}

impl Mail {
    /// The value of a header, folded lines joined.
    pub fn header(&self, name: &str) -> String {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let unfolded = head.replace("\r\n ", " ");
        unfolded
            .split("\r\n")
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
            .unwrap_or_default()
            .to_owned()
    }
}

pub fn mail_server() -> Result<Receiver<Mail>> {
    Receiver::start(|mut stream, inner| {
        if inner.mood() == Mood::Down {
            return Ok(());
        }
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let mut recipients = Vec::new();
        stream.write_all(b"220 here\r\n")?;
        while let Some(line) = lines.next() {
            let line = line?;
            let answer = match line.get(..4).unwrap_or_default() {
                "EHLO" => "250 here".to_owned(),
                "RCPT" => {
                    if let Mood::Refusing(code) = inner.mood() {
                        format!("{code} no")
                    } else {
                        recipients.push(line.clone());
                        "250 ok".to_owned()
                    }
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n")?;
                    let mut text = String::new();
                    for line in lines.by_ref() {
                        let line = line?;
                        if line == "." {
                            break;
                        }
                        text.push_str(&line);
                        text.push_str("\r\n");
                    }
                    inner.take(Mail {
                        recipients: std::mem::take(&mut recipients),
                        text,
                    });
                    match inner.mood() {
                        Mood::Slow => thread::sleep(TOO_LONG),
                        Mood::Forgetful => return Ok(()),
                        _ => {}
                    }
                    "250 taken".to_owned()
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n")?;
                    return Ok(());
                }
                _ => "250 ok".to_owned(),
            };
            stream.write_all(format!("{answer}\r\n").as_bytes())?;
        }
        Ok(())
    })
}

/// A webhook that a receiver took.
#[derive(Debug, Clone)]
pub struct Call {
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Call {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Whether one of the signatures is that of the secret, as the standard has it.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD
            .decode(secret.trim_start_matches("whsec_"))
            .unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let timestamp = &self.headers["webhook-timestamp"];
        mac.update(format!("{}.{timestamp}.{}", self.id(), self.body).as_bytes());
        let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.headers["webhook-signature"]
            .split(' ')
            .any(|signature| signature == wanted)
    }
}

pub fn ids(calls: &[Call]) -> BTreeSet<String> {
    calls.iter().map(|call| call.id().to_owned()).collect()
}

pub fn webhook_receiver() -> Result<Receiver<Call>> {
    Receiver::start(|mut stream, inner| {
        let mood = inner.mood();
        if mood == Mood::Down {
            return Ok(());
        }
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut headers = BTreeMap::new();
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    break;
                };
                headers.insert(name.to_ascii_lowercase(), value.to_owned());
            }
            let length = headers
                .get("content-length")
                .map_or(Ok(0), |length| length.parse())?;
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let call = Call {
                headers,
                body: String::from_utf8(body)?,
            };
            let answer = match inner.mood() {
                Mood::Well | Mood::Down => {
                    inner.take(call);
                    "200 OK\r\n".to_owned()
                }
                Mood::Slow => {
                    inner.take(call);
                    thread::sleep(TOO_LONG);
                    "200 OK\r\n".to_owned()
                }
                Mood::Forgetful => {
                    inner.take(call);
                    "500 Oh no\r\n".to_owned()
                }
                Mood::Refusing(code) => format!("{code} No\r\nRetry-After: 120\r\n"),
                Mood::Redirecting(to) => format!("307 There\r\nLocation: {to}\r\n"),
            };
            stream.write_all(format!("HTTP/1.1 {answer}Content-Length: 2\r\n\r\nok").as_bytes())?;
        }
    })
}

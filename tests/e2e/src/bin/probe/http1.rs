use std::io;

use anyhow::Result;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;
use tollgate_e2e::probe::{Answer, Request};
use tollgate_e2e::wire::{self, Fields, Framing, Reader, Sum};

type Tls = TlsStream<TcpStream>;

/// Sends requests until one fails, for then nothing more can be expected of the connection.
pub(crate) async fn talk(tls: Tls, requests: Vec<Request>) -> Result<Vec<Answer>> {
    let (read, mut write) = tokio::io::split(tls);
    let mut reader = Reader::new(read);
    let mut answers = Vec::new();
    for request in requests {
        let answer = exchange(&mut reader, &mut write, &request).await;
        let failed = answer.error.is_some();
        answers.push(answer);
        if failed {
            break;
        }
    }
    Ok(answers)
}

async fn exchange(reader: &mut Reader<ReadHalf<Tls>>, write: &mut WriteHalf<Tls>, request: &Request) -> Answer {
    let mut answer = Answer::default();
    let (tell, told) = oneshot::channel();
    // A server may answer before it has read all, or close: what it says counts more than what could not be sent.
    let (sent, received) = tokio::join!(send(write, request, told), receive(reader, request, Some(tell), &mut answer));
    if let Err(error) = received {
        answer.error = Some(format!("{:?}: {error}", error.kind()));
    } else if let Err(error) = sent {
        answer.error = Some(format!("sending: {:?}: {error}", error.kind()));
    }
    if answer.error.is_none()
        && answer.status == 101
        && let Err(error) = switch(reader, write, request, &mut answer).await
    {
        answer.error = Some(format!("switched: {:?}: {error}", error.kind()));
    }
    answer
}

async fn send(write: &mut WriteHalf<Tls>, request: &Request, told: oneshot::Receiver<()>) -> io::Result<()> {
    let mut head = wire::bytes(&format!("{} {} HTTP/1.1\r\n", request.method, request.path));
    head.extend(wire::lines(&request.headers));
    head.extend_from_slice(b"\r\n");
    write.write_all(&head).await?;
    let framing = wire::framing(&request.headers, Framing::Empty);
    let mut wait = request.wait_after.map(|after| (after, told));
    let mut sent = 0;
    for piece in request.pieces().unwrap_or_default() {
        if let Some((after, _)) = &wait
            && sent >= *after
            && let Some((_, told)) = wait.take()
        {
            write.flush().await?;
            if told.await.is_err() {
                return Ok(());
            }
        }
        write.write_all(&wire::frame(&piece, framing)).await?;
        sent += piece.len();
    }
    write.write_all(&wire::last(framing, &request.trailers)).await?;
    write.flush().await
}

async fn receive(
    reader: &mut Reader<ReadHalf<Tls>>,
    request: &Request,
    mut tell: Option<oneshot::Sender<()>>,
    answer: &mut Answer,
) -> io::Result<()> {
    let head = loop {
        let head = reader.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        answer.status = status(&head)?;
        let interim = (100..200).contains(&answer.status) && answer.status != 101;
        if interim {
            answer.interim.push(answer.status);
            answer.status = 0;
        }
        // After a final answer that came instead of `100 Continue`, the rest is not sent.
        if let Some(tell) = tell.take()
            && (interim || request.wait_after != Some(0))
        {
            // Sent already, if nobody waits.
            let _waited: Result<(), ()> = tell.send(());
        }
        if !interim {
            break head;
        }
    };
    answer.headers = wire::fields(&head);
    answer.head = wire::latin1(&head);
    if request.stall {
        std::future::pending::<()>().await;
    }
    let mut sum = Sum::default();
    let result = reader.body(framing(&answer.headers, answer.status, &request.method), &mut sum).await;
    (answer.length, answer.sha256) = (sum.length(), sum.digest());
    answer.trailers = result?;
    Ok(())
}

async fn switch(
    reader: &mut Reader<ReadHalf<Tls>>,
    write: &mut WriteHalf<Tls>,
    request: &Request,
    answer: &mut Answer,
) -> io::Result<()> {
    let Some((send, expected)) = &request.switched else { return Ok(()) };
    let (sent, received) = tokio::join!(
        async {
            write.write_all(send).await?;
            write.flush().await
        },
        reader.exactly(*expected)
    );
    sent?;
    answer.switched = received?.to_vec();
    Ok(())
}

fn status(head: &[u8]) -> io::Result<u16> {
    let digits = head.split(|&byte| byte == b' ').nth(1).and_then(|digits| std::str::from_utf8(digits.get(..3)?).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn framing(headers: &Fields, status: u16, method: &str) -> Framing {
    if method == "HEAD" || matches!(status, 101 | 204 | 304) {
        Framing::Empty
    } else {
        wire::framing(headers, Framing::Close)
    }
}

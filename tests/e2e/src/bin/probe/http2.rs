use std::future::poll_fn;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;
use tollgate_e2e::origin::{map, pairs};
use tollgate_e2e::probe::{Answer, Plan, Request};
use tollgate_e2e::wire::Sum;

pub(crate) async fn talk(tls: TlsStream<TcpStream>, plan: Plan) -> Result<Vec<Answer>> {
    let (mut sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(4 << 20)
        .handshake::<_, Bytes>(tls)
        .await?;
    tokio::spawn(connection);
    // Its first frame tells what it allows.
    let wants_connect = plan.requests.iter().any(|request| request.protocol.is_some());
    for _ in 0..200 {
        if !wants_connect || sender.is_extended_connect_protocol_enabled() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        sender = sender.ready().await?;
    }
    let mut answers = Vec::new();
    if plan.together {
        let tasks: Vec<_> = plan
            .requests
            .into_iter()
            .map(|request| tokio::spawn(exchange(sender.clone(), plan.host.clone(), request)))
            .collect();
        for task in tasks {
            answers.push(task.await?);
        }
    } else {
        for request in plan.requests {
            answers.push(exchange(sender.clone(), plan.host.clone(), request).await);
        }
    }
    Ok(answers)
}

async fn exchange(sender: SendRequest<Bytes>, host: String, request: Request) -> Answer {
    let mut answer = Answer::default();
    if let Err(error) = attempt(sender, &host, &request, &mut answer).await {
        answer.error = Some(describe(&error));
    }
    answer
}

async fn attempt(sender: SendRequest<Bytes>, host: &str, request: &Request, answer: &mut Answer) -> Result<()> {
    let mut sender = sender.ready().await?;
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("https://{host}{}", request.path))
        .body(())?;
    *head.headers_mut() = map(&request.headers)?;
    if let Some(protocol) = &request.protocol {
        head.extensions_mut().insert(h2::ext::Protocol::from(protocol.as_str()));
    }
    let ends = request.pieces().is_none() && request.trailers.is_empty() && request.protocol.is_none();
    let (response, stream) = sender.send_request(head, ends)?;
    if let Some((bytes, expected)) = request.switched.as_ref().filter(|_| request.protocol.is_some()) {
        return switch(response.await?, stream, bytes, *expected, answer).await;
    }
    let (tell, told) = oneshot::channel();
    let sending = async { if ends { Ok(()) } else { send(stream, request, told).await } };
    let receiving = async {
        let response = response.await?;
        let _sent_already: Result<(), ()> = tell.send(());
        read(response, request, answer).await
    };
    // The answer counts, whatever could not be sent any more.
    let (sent, received) = tokio::join!(sending, receiving);
    received?;
    if answer.status < 400 { sent } else { Ok(()) }
}

async fn read(response: http::Response<RecvStream>, request: &Request, answer: &mut Answer) -> Result<()> {
    let (head, mut body) = response.into_parts();
    answer.status = head.status.as_u16();
    answer.headers = pairs(&head.headers);
    if request.stall {
        std::future::pending::<()>().await;
    }
    let mut sum = Sum::default();
    let result = loop {
        match body.data().await {
            Some(Ok(data)) => {
                sum.add(&data);
                body.flow_control().release_capacity(data.len())?;
                if request.leave.is_some_and(|leave| sum.length() >= leave) {
                    answer.length = sum.length();
                    return Ok(());
                }
            }
            Some(Err(error)) => break Err(error),
            None => break Ok(()),
        }
    };
    (answer.length, answer.sha256) = (sum.length(), sum.digest());
    result?;
    answer.trailers = body.trailers().await?.as_ref().map(pairs).unwrap_or_default();
    Ok(())
}

async fn send(mut stream: SendStream<Bytes>, request: &Request, told: oneshot::Receiver<()>) -> Result<()> {
    let mut wait = request.wait_after.map(|after| (after, told));
    let mut sent = 0;
    for mut piece in request.pieces().unwrap_or_default() {
        if let Some((after, _)) = &wait
            && sent >= *after
            && let Some((_, told)) = wait.take()
            && told.await.is_err()
        {
            return Ok(());
        }
        sent += piece.len();
        while !piece.is_empty() {
            stream.reserve_capacity(piece.len());
            let room = poll_fn(|context| stream.poll_capacity(context)).await.context("the stream was closed")??;
            stream.send_data(piece.split_to(room.min(piece.len())), false)?;
        }
    }
    if request.trailers.is_empty() {
        stream.send_data(Bytes::new(), true)?;
    } else {
        stream.send_trailers(map(&request.trailers)?)?;
    }
    Ok(())
}

async fn switch(
    response: http::Response<RecvStream>,
    mut stream: SendStream<Bytes>,
    bytes: &[u8],
    expected: usize,
    answer: &mut Answer,
) -> Result<()> {
    let (head, mut body) = response.into_parts();
    answer.status = head.status.as_u16();
    answer.headers = pairs(&head.headers);
    let mut rest = Bytes::copy_from_slice(bytes);
    let sending = async {
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let room = poll_fn(|context| stream.poll_capacity(context)).await.context("the stream was closed")??;
            stream.send_data(rest.split_to(room.min(rest.len())), false)?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let receiving = async {
        while answer.switched.len() < expected {
            let data = body.data().await.context("the stream ended early")??;
            body.flow_control().release_capacity(data.len())?;
            answer.switched.extend_from_slice(&data);
        }
        Ok::<_, anyhow::Error>(())
    };
    let (sent, received) = tokio::join!(sending, receiving);
    sent?;
    received
}

/// The reason code alone, where there is one: the words around it depend on who is asked.
fn describe(error: &anyhow::Error) -> String {
    let h2 = error.downcast_ref::<h2::Error>();
    match h2.and_then(h2::Error::reason) {
        Some(reason) if h2.is_some_and(h2::Error::is_go_away) => format!("GOAWAY {reason:?}"),
        Some(reason) => format!("RST_STREAM {reason:?}"),
        None => format!("{error:#}"),
    }
}

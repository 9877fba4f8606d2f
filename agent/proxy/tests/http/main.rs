//! HTTP through the proxy: what clients send and providers answer, against what arrives at the other end.

mod bodies;
mod cutting;
mod direct;
mod disconnect;
mod drain;
mod estimates;
mod http1;
mod http2;
mod log;
mod policy;
mod prices;
mod size;
mod sockets;
mod splice;
mod stress;
mod support;
mod upgrade;
mod upstream;
mod websocket;

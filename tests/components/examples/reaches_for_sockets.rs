//! Connects to a server.
#![cfg(target_arch = "wasm32")]

test_components::only_run!(|_| {
    let connected = std::net::TcpStream::connect("169.254.169.254:80").is_ok();
    Err(test_components::failure(connected.to_string()))
});

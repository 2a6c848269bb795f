//! Podman behind ssh, from its recorded answers: an `ssh` that says what Podman said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::*;

/// Answers one request of a connection. Podman 5.8.6 answered the list with this while a container ended.
const SSH: &str = r#"#!/bin/sh
read -r method path rest
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
case $path in
*/containers/json*) body='[{"Id":"58f321681e6c8f6aca8c859d403d71a8a2cbb684c8c8aef156014ad4e892ad77","Names":["/opencode-cloud"],"Image":"localhost/docklet-test/stand-in:1","ImageID":"sha256:b0044368a7fabd2f51219eff1ed267f567d4494a07c872d7e96db39b9c847d72","Command":"","Created":1795773235,"Ports":[{"PrivatePort":3000,"Type":"tcp"}],"Labels":{"docklet.instance":"default","docklet.managed":"true","docklet.appliance":"opencode-cloud"},"State":"stopped","Status":"Exited (137) Less than a second ago","NetworkSettings":{"Networks":{"podman":{"IPAMConfig":null,"Links":null,"Aliases":["58f321681e6c"],"MacAddress":"","DriverOpts":null,"GwPriority":0,"NetworkID":"2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9","EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}},"Mounts":[],"Name":"","Config":null,"NetworkingConfig":null,"Platform":null,"DefaultReadOnlyNonRecursive":false}]' ;;
*/volumes*) body='{"Volumes":[],"Warnings":[]}' ;;
*/version*) body='{"Components":[{"Name":"Podman Engine","Version":"5.8.6","Details":{"APIVersion":"5.8.6","MinAPIVersion":"4.0.0"}}],"Version":"5.8.6","ApiVersion":"1.44","MinAPIVersion":"1.24","Os":"linux","Arch":"amd64"}' ;;
*) body='{"cause":"x","message":"not recorded: '$path'","response":501}' ;;
esac
printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %s\r\n\r\n%s' "${#body}" "$body"
"#;

#[test]
fn a_list_is_read_while_a_container_ends() {
    let home = Home::new();
    let programs = home.path("programs");
    fs::create_dir(&programs).unwrap();
    fs::write(programs.join("ssh"), SSH).unwrap();
    fs::set_permissions(programs.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = home
        .docklet()
        .args(["list", "--json"])
        .env("PATH", path)
        .env("DOCKER_HOST", "ssh://me@there")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(json(&output)["instances"][0]["state"], "exited", "{}", shown(&output));
}

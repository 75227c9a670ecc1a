/**
 * Whether a host is this machine, as its name or address alone says. Pure: nothing is resolved.
 *
 * Names below `localhost` are not included: some resolvers (musl's) ask the network for them.
 *
 * @param host a host name, or an IP address, in brackets or without
 */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  return name === "localhost" || IPV4.test(name) || IPV6.test(name) || IPV4_IN_IPV6.test(name);
}

const OCTET = String.raw`(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`;
const ADDRESS = String.raw`127(?:\.${OCTET}){3}`;

const IPV4 = new RegExp(`^${ADDRESS}$`);
const IPV6 = /^(?:(?:0{1,4}:){7}|(?:(?:0{1,4}:)+|:):(?:0{1,4}:)*)0{0,3}1$/;
/** As written, and as a URL parser writes it. */
const IPV4_IN_IPV6 = new RegExp(
  String.raw`^(?:::|(?:0{1,4}:){5})ffff:(?:${ADDRESS}|7f[\da-f]{2}:[\da-f]{1,4})$`,
);

/** Why an address is not for workers to reach; stable, part of the message that they get. */
export type AddressRule =
  | "loopback_address"
  | "private_address"
  | "link_local_address"
  | "multicast_address"
  | "reserved_address";

// First and last address of each range: https://www.iana.org/assignments/iana-ipv4-special-registry
const IPV4_RANGES: [first: string, last: string, AddressRule][] = [
  ["0.0.0.0", "0.255.255.255", "loopback_address"],
  ["10.0.0.0", "10.255.255.255", "private_address"],
  ["100.64.0.0", "100.127.255.255", "private_address"],
  ["127.0.0.0", "127.255.255.255", "loopback_address"],
  ["169.254.0.0", "169.254.255.255", "link_local_address"],
  ["172.16.0.0", "172.31.255.255", "private_address"],
  ["192.0.0.0", "192.0.0.255", "reserved_address"],
  ["192.168.0.0", "192.168.255.255", "private_address"],
  ["224.0.0.0", "239.255.255.255", "multicast_address"],
  ["240.0.0.0", "255.255.255.255", "reserved_address"],
];

/**
 * Why a worker may not reach the host, which is as `URL.hostname` gives it; undefined for public addresses
 * and for names. What names mean is known only when they are looked up: the runtime's network service
 * then refuses the same ranges.
 */
export function addressRule(host: string): AddressRule | undefined {
  if (host === "localhost" || host.endsWith(".localhost")) return "loopback_address";
  if (host.startsWith("[")) return ipv6Rule(parseIpv6(host.slice(1, -1)));
  return /^\d+\.\d+\.\d+\.\d+$/.test(host) ? ipv4Rule(toNumber(host)) : undefined;
}

const toNumber = (address: string): number =>
  address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);

function ipv4Rule(address: number): AddressRule | undefined {
  const range = IPV4_RANGES.find(
    ([first, last]) => address >= toNumber(first) && address <= toNumber(last),
  );
  return range?.[2];
}

/** The address's eight groups, of the one form that URLs have: hexadecimal, with at most one "::". */
function parseIpv6(address: string): number[] {
  const [head = [], tail = []] = address
    .split("::")
    .map((half) => (half === "" ? [] : half.split(":").map((group) => parseInt(group, 16))));
  if (!address.includes("::")) return head;
  return [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

function ipv6Rule(groups: number[]): AddressRule | undefined {
  const [first = 0, second = 0, third = 0] = groups;
  const ipv4At = (index: number): AddressRule | undefined =>
    ipv4Rule((groups[index] ?? 0) * 0x10000 + (groups[index + 1] ?? 0));
  const zeros = (count: number): boolean => groups.slice(0, count).every((group) => group === 0);

  // ::, ::1 and the outdated form of IPv4 addresses; then those mapped, translated and tunnelled.
  if (zeros(6)) return groups[6] ? ipv4At(6) : "loopback_address";
  if (zeros(5) && groups[5] === 0xffff) return ipv4At(6);
  if (first === 0x64 && second === 0xff9b) return third === 1 ? "private_address" : ipv4At(6);
  if (first === 0x2002) return ipv4At(1);
  if ((first & 0xfe00) === 0xfc00 || (first & 0xffc0) === 0xfec0) return "private_address";
  if ((first & 0xffc0) === 0xfe80) return "link_local_address";
  if ((first & 0xff00) === 0xff00) return "multicast_address";
  return undefined;
}

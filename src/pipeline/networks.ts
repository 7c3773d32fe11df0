/** Addresses that agree in their first bits; IPv4 ones are taken for the IPv6 ones that stand for them. */
export interface Network {
  bits: bigint;
  /** How many of the last bits may be any. */
  free: bigint;
}

/** Reads addresses and networks like `10.0.0.0/8`, separated by commas; undefined if one is neither. */
export function parseNetworks(text: string): Network[] | undefined {
  const parts = text.split(",").map((part) => part.trim());
  const networks = parts.filter((part) => part !== "").map(parseNetwork);
  return networks.every((network) => network !== undefined) ? networks : undefined;
}

function parseNetwork(text: string): Network | undefined {
  const [, address = "", length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bits = toBits(address);
  const width = address.includes(":") ? 128 : 32;
  const prefix = length === undefined ? width : Number(length);
  if (bits === undefined || prefix > width) return undefined;
  return { bits, free: BigInt(width - prefix) };
}

/** The 128 bits of an address; undefined if it is none. */
export function toBits(address: string): bigint | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) {
    const bytes = address.split(".").map(Number);
    if (bytes.some((byte) => byte > 255)) return undefined;
    return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0xffffn);
  }
  if (!address.includes(":")) return undefined;
  // URLs have but one form of each address: eight groups, of which "::" leaves out some.
  const host = URL.parse(`http://[${address}]`)?.hostname.slice(1, -1);
  if (host === undefined) return undefined;
  const [head = [], tail = []] = host
    .split("::")
    .map((half) => (half === "" ? [] : half.split(":")));
  const zeros = Array<string>(8 - head.length - tail.length).fill("0");
  const groups = host.includes("::") ? [...head, ...zeros, ...tail] : head;
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

/** The address without its port and brackets: of "127.0.0.1:3456", "[::1]:3456", "127.0.0.1" and "::1". */
export function withoutPort(address: string): string {
  if (address.startsWith("[")) return address.slice(1, address.indexOf("]"));
  const colon = address.indexOf(":");
  return colon === address.lastIndexOf(":") && colon >= 0 ? address.slice(0, colon) : address;
}

/** Whether the address belongs to one of the networks. */
export function isWithin(address: string, networks: Network[]): boolean {
  const bits = toBits(address);
  return bits !== undefined && networks.some((one) => bits >> one.free === one.bits >> one.free);
}

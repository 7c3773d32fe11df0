import { endianness } from "node:os";

/** Numbers of a system call on x86-64 and on arm64. */
type Numbers = [x64: number, arm64: number];

const both = (number: number): Numbers => [number, number];

/**
 * System calls that a workerd never makes and that have had more than their share of the kernel's holes, or
 * reach other processes. What is left is still large: this is a second fence, not the first.
 */
const REFUSED: Record<string, Numbers> = {
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  pidfd_getfd: both(438),
  kcmp: [312, 272],
  unshare: [272, 97],
  setns: [308, 268],
  chroot: [161, 51],
  pivot_root: [155, 41],
  mount: [165, 40],
  umount2: [166, 39],
  open_tree: both(428),
  move_mount: both(429),
  fsopen: both(430),
  fsconfig: both(431),
  fsmount: both(432),
  fspick: both(433),
  mount_setattr: both(442),
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  io_uring_setup: both(425),
  io_uring_enter: both(426),
  io_uring_register: both(427),
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  syslog: [103, 116],
  personality: [135, 92],
  quotactl: [179, 60],
  acct: [163, 89],
  swapon: [167, 224],
  swapoff: [168, 225],
  reboot: [169, 142],
};
const SOCKET: Numbers = [41, 198];
const CLONE: Numbers = [56, 220];
const CLONE3 = 435;

/** What sockets may be made: Unix, IPv4, IPv6. */
const FAMILIES = [1, 2, 10];
/** Flags of `clone` that make namespaces. */
const NEW_NAMESPACES = 0x7e02_0080;
/** Number of calls of the x32 interface, which would be others than those that are refused. */
const X32 = 0x4000_0000;

const ARCHITECTURES = { x64: 0xc000_003e, arm64: 0xc000_00b7 };

// Instructions of classic BPF, and where a call's parts are in what the filter sees.
const LOAD = 0x20;
const AND = 0x54;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const RETURN = 0x06;
const CALL_NUMBER = 0;
const CALL_ARCHITECTURE = 4;
const CALL_FIRST_ARGUMENT = 16;

const ALLOW = 0x7fff_0000;
const KILL = 0x8000_0000;
const error = (number: number): number => 0x0005_0000 | number;
const EPERM = 1;
const EAFNOSUPPORT = 97;
const ENOSYS = 38;

/** Code, argument, and how many instructions to skip if a comparison holds, or does not. */
type Instruction = [code: number, value: number, skipIf?: number, skipIfNot?: number];

/** The filter as the kernel takes it; undefined for processors whose system calls are not known here. */
export function seccompFilter(architecture: string): Buffer | undefined {
  if (architecture !== "x64" && architecture !== "arm64") return undefined;
  if (endianness() !== "LE") return undefined;
  const numberOf = ([x64, arm64]: Numbers): number => (architecture === "x64" ? x64 : arm64);
  const program: Instruction[] = [
    [LOAD, CALL_ARCHITECTURE],
    [JUMP_EQUAL, ARCHITECTURES[architecture], 1, 0],
    [RETURN, KILL],
    [LOAD, CALL_NUMBER],
    [JUMP_AT_LEAST, X32, 0, 1],
    [RETURN, error(ENOSYS)],
    // What it would do is in memory, where a filter cannot look; programs then take the older call.
    [JUMP_EQUAL, CLONE3, 0, 1],
    [RETURN, error(ENOSYS)],
    ...Object.values(REFUSED).flatMap((numbers): Instruction[] => [
      [JUMP_EQUAL, numberOf(numbers), 0, 1],
      [RETURN, error(EPERM)],
    ]),
    [JUMP_EQUAL, numberOf(CLONE), 0, 5],
    [LOAD, CALL_FIRST_ARGUMENT],
    [AND, NEW_NAMESPACES],
    [JUMP_EQUAL, 0, 1, 0],
    [RETURN, error(EPERM)],
    [RETURN, ALLOW],
    [JUMP_EQUAL, numberOf(SOCKET), 1, 0],
    [RETURN, ALLOW],
    [LOAD, CALL_FIRST_ARGUMENT],
    ...FAMILIES.flatMap((family): Instruction[] => [
      [JUMP_EQUAL, family, 0, 1],
      [RETURN, ALLOW],
    ]),
    [RETURN, error(EAFNOSUPPORT)],
  ];
  const filter = Buffer.alloc(program.length * 8);
  program.forEach(([code, value, skipIf = 0, skipIfNot = 0], index) => {
    const at = index * 8;
    filter.writeUInt16LE(code, at);
    filter.writeUInt8(skipIf, at + 2);
    filter.writeUInt8(skipIfNot, at + 3);
    filter.writeUInt32LE(value, at + 4);
  });
  return filter;
}

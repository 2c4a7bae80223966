/** Linux capabilities (capabilities(7)): names by bit, and the set that a container has. */

const BY_BIT = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN ' +
  'NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME ' +
  'SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON ' +
  'BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

/** The fourteen that Docker gives by default. */
export const DEFAULT_CAPABILITIES: readonly string[] =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE'
    .split(' ')
    .map((name) => `CAP_${name}`);

/** Names in a mask as /proc/<pid>/status shows it (hex). */
export function capabilitiesOfMask(hex: string): string[] {
  const mask = BigInt(`0x${hex}`);
  return BY_BIT.filter((_, bit) => (mask >> BigInt(bit)) & 1n);
}

/** True for a name with or without `CAP_`, in any case, and for ALL. */
export const isCapability = (name: string): boolean => ['ALL', ...BY_BIT].includes(canonical(name));

const canonical = (name: string): string => {
  const upper = name.toUpperCase();
  return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
};

/**
 * Compose's cap_add and cap_drop on top of the default, as Docker reads them: `ALL` in add means every capability that the host can
 * give (less what is dropped by name); `ALL` in drop leaves only what is added by name.
 */
export function containerCapabilities(
  add: readonly string[] = [],
  drop: readonly string[] = [],
  available: readonly string[] = BY_BIT,
): string[] {
  const adds = add.map(canonical);
  const drops = drop.map(canonical);
  const base = adds.includes('ALL') ? available : drops.includes('ALL') ? [] : DEFAULT_CAPABILITIES;
  const named = adds.filter((c) => c !== 'ALL');
  const dropped = new Set(drops.filter((c) => !named.includes(c) || adds.includes('ALL')));
  return [...new Set([...base, ...named])].filter((c) => !dropped.has(c));
}

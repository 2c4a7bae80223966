/** Networks and their addresses as rows. */
import type { AddressFinding, AddressRow, ExposureRow, NetworkRow, SubnetRow } from '#rpc/gen/weft/v1/api.js';
import type { Column } from './table.js';

export type NetworkListRow = ReturnType<typeof networkRow>;

export function networkRow(row: NetworkRow) {
  const { network } = row;
  return {
    name: network?.name ?? '',
    id: network?.id ?? '',
    stack: network?.stack ?? '',
    key: network?.key ?? '',
    driver: network?.driver ?? '',
    internal: network?.internal ?? false,
    subnet: network?.subnet ?? '',
    gateway: network?.gateway ?? '',
    subnet6: network?.subnet6 ?? '',
    attachable: network?.attachable ?? false,
    vni: network?.vni ?? 0,
    mtu: row.mtu,
    addressesUsed: row.addressesUsed,
    addressesTotal: row.addressesTotal,
    createdAt: network?.createdAt ?? 0,
  };
}

export const networkColumns: Column<NetworkListRow>[] = [
  { title: 'NAME', text: (r) => r.name },
  { title: 'STACK', text: (r) => r.stack },
  { title: 'DRIVER', text: (r) => [r.driver, ...(r.internal ? ['internal'] : []), ...(r.subnet6 ? ['IPv6'] : [])].join(', ') },
  { title: 'SUBNET', text: (r) => r.subnet },
  { title: 'GATEWAY', text: (r) => r.gateway },
  { title: 'VNI', text: (r) => String(r.vni), align: 'right' },
  { title: 'MTU', text: (r) => String(r.mtu), align: 'right' },
  { title: 'ADDRESSES', text: (r) => `${r.addressesUsed}/${r.addressesTotal}`, align: 'right' },
];

export const addressColumns: Column<AddressRow>[] = [
  { title: 'ADDRESS', text: (r) => r.ipv4 },
  { title: 'OF', text: (r) => r.kind },
  { title: 'NAME', text: (r) => r.owner },
  { title: 'NODE', text: (r) => r.node },
  { title: 'MAC', text: (r) => r.mac },
];

export const subnetColumns: Column<SubnetRow>[] = [
  { title: 'SUBNET', text: (r) => r.subnet },
  { title: 'GATEWAY', text: (r) => r.gateway },
  { title: 'RANGE', text: (r) => r.ipRange },
  {
    title: 'KEPT',
    text: (r) =>
      Object.entries(r.auxAddresses)
        .map(([name, address]) => `${name}=${address}`)
        .join(', '),
  },
  { title: 'USED', text: (r) => String(r.addressesUsed), align: 'right' },
];

export const exposureColumns: Column<ExposureRow>[] = [
  { title: 'FROM OUTSIDE', text: (r) => r.published },
  { title: 'TO', text: (r) => `${r.stack}/${r.service} ${r.target}` },
  { title: 'THROUGH', text: (r) => r.nodes.join(', ') },
];

/** Everything of a network for a program: flat, but for what is a list. */
export const inspectedNetwork = (row: NetworkRow) => ({
  ...networkRow(row),
  labels: row.network?.labels ?? {},
  options: row.network?.options ?? {},
  subnets: row.subnets,
  users: row.users,
  nat: row.nat,
  exposures: row.exposures,
  addresses: row.addresses.map((a) => ({ ...a, address: a.ipv4 })),
});

export const findingColumns: Column<AddressFinding>[] = [
  { title: 'NETWORK', text: (r) => r.network },
  { title: 'ADDRESS', text: (r) => r.address },
  { title: 'FINDING', text: (r) => r.finding },
];

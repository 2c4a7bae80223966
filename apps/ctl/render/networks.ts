/** Networks and their addresses as rows. */
import type { AddressRow, NetworkRow } from '#rpc/gen/weft/v1/api.js';
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
  { title: 'DRIVER', text: (r) => (r.internal ? `${r.driver}, internal` : r.driver) },
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

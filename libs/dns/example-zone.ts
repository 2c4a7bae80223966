/**
 * An example for tests and readers: the stack `shop` with `web` (two replicas behind a VIP) on `front`, `db` on `front` and on the
 * internal network `back`, and `vault` on `back` only.
 */
import type { NameConfig, PortConfig } from './name-config.js';

/** Clients: web.1 on front, db.1 on both, vault.1 on back only, and one that is on no network. */
export const WEB = '10.1.0.20';
export const DB_FRONT = '10.1.0.30';
export const DB_BACK = '10.2.0.30';
export const VAULT = '10.2.0.40';
export const STRANGER = '10.9.9.9';
export const NODE_FRONT = '10.1.15.254';

const WEB_PORTS: PortConfig[] = [
  { port: 80, protocol: 'tcp', name: 'http' },
  { port: 443, protocol: 'tcp' },
  { port: 443, protocol: 'udp', name: 'h3' },
];
const UPSTREAMS = ['192.0.2.53'];

export const EXAMPLE: NameConfig = {
  ttlSeconds: 5,
  networks: [
    {
      id: 'f0f0f0f0',
      name: 'shop_front',
      stack: 'shop',
      internal: false,
      listen: { address: '10.1.0.1', port: 7753 },
      subnet: '10.1.0.0/20',
      nodeAddresses: [NODE_FRONT],
      clients: [WEB, DB_FRONT],
      records: [
        { name: 'web', addresses: ['10.1.0.200'], ports: WEB_PORTS },
        { name: 'Web.Shop', addresses: ['10.1.0.200'] },
        { name: 'www.example.org.', addresses: ['10.1.0.200'] },
        { name: 'tasks.web', addresses: [WEB, '10.1.0.21', '10.1.0.22'], ports: WEB_PORTS, targets: ['shop-web-1', 'shop-web-2'] },
        { name: 'shop-web-1', addresses: [WEB] },
        { name: 'shop-web-2', addresses: ['10.1.0.21'], ttlSeconds: 60 },
        { name: 'db', addresses: [DB_FRONT, 'fd00:1::30'] },
        { name: 'down', addresses: [] },
      ],
      ptr: [{ address: WEB, name: 'web-1.shop_front' }],
      searchSuffix: 'weft.internal',
    },
    {
      id: 'b0b0b0b0',
      name: 'shop_back',
      stack: 'shop',
      internal: true,
      listen: { address: '10.2.0.1', port: 7753 },
      subnet: '10.2.0.0/20',
      nodeAddresses: [],
      clients: [DB_BACK, VAULT],
      records: [
        { name: 'vault', addresses: [VAULT] },
        { name: 'db', addresses: [DB_BACK] },
      ],
      ptr: [{ address: VAULT, name: 'vault-1.shop_back' }],
    },
  ],
  tasks: [
    { id: 'shop_db.1', addresses: [DB_FRONT, DB_BACK] },
    { id: 'shop_web.1', addresses: [WEB] },
  ],
  upstreams: UPSTREAMS,
};

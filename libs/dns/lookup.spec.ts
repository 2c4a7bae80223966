import { Type } from './constants.js';
import { DB_BACK, DB_FRONT, EXAMPLE, NODE_FRONT, STRANGER, VAULT, WEB } from './example-zone.js';
import { formatAddress } from './ip.js';
import { lookup, type LookupResult } from './lookup.js';
import { normalName } from './name.js';
import { buildZone } from './zone.js';

const zone = buildZone(EXAMPLE);

/** The answer as a line: addresses or targets, or the kind of the result. */
function asked(client: string, name: string, type: keyof typeof Type = 'A', turn = 0): string {
  return lineOf(lookup(zone, { name: normalName(name), type: Type[type], class: 1 }, client, turn));
}

function lineOf(result: LookupResult): string {
  if (result.kind !== 'answer') return result.kind;
  const texts = result.records.map(({ data }) => {
    if (data.kind === 'A' || data.kind === 'AAAA') return formatAddress(data.address);
    if (data.kind === 'SRV') return `${data.target}:${data.port}/${data.weight}`;
    return data.kind === 'PTR' ? data.target : data.kind;
  });
  return texts.join(' ');
}

describe('names', () => {
  it.each([
    ['a service', 'web', '10.1.0.200'],
    ['fully qualified, in any case', 'WeB.', '10.1.0.200'],
    ['service.stack', 'web.shop', '10.1.0.200'],
    ['an alias that is a whole domain name', 'www.example.org', '10.1.0.200'],
    ['tasks.service', 'tasks.web', '10.1.0.20 10.1.0.21 10.1.0.22'],
    ['name.network', 'web.shop_front', '10.1.0.200'],
    ['with the search suffix', 'web.weft.internal', '10.1.0.200'],
    ['with the search suffix, unknown', 'nosuch.weft.internal', 'nxdomain'],
    ['localhost', 'localhost', '127.0.0.1'],
    ['without an address now', 'down', 'nodata'],
    ['unknown, without a dot', 'nosuch', 'nxdomain'],
    ['unknown tasks of a service', 'tasks.nosuch', 'nxdomain'],
    ['unknown tasks in a known stack', 'tasks.nosuch.shop', 'nxdomain'],
    ['tasks of a real domain', 'tasks.example.com', 'upstream'],
    ['of a network it is not on', 'vault', 'nxdomain'],
    ['of a network it is not on, qualified', 'vault.shop_back', 'upstream'],
    ['a stack, which has names below it', 'shop', 'nodata'],
    ['the end of a real domain alias', 'example.org', 'upstream'],
    ['an outside name', 'example.com', 'upstream'],
  ])('%s: %s is %s', (_what, name, result) => {
    expect(asked(WEB, name)).toBe(result);
  });

  it('tell "no such type" from "no such name"', () => {
    expect(asked(WEB, 'web', 'AAAA')).toBe('nodata');
    expect(asked(WEB, 'nosuch', 'AAAA')).toBe('nxdomain');
    expect(asked(WEB, 'db', 'SRV')).toBe('nodata');
    expect(asked(WEB, 'db', 'AAAA')).toBe('fd00:1::30');
  });

  it.each([
    ['_http._tcp.web', 'web:80/0'],
    ['_HTTP._TCP.Web', 'web:80/0'],
    ['_80._tcp.web', 'web:80/0'],
    ['_h3._udp.web.shop_front', 'web.shop_front:443/0'],
    ['_web._tcp', 'web:80/0 web:443/0'],
    ['_web._tcp.shop_front', 'web:80/0 web:443/0'],
    ['_http._tcp.tasks.web', 'shop-web-1:80/1 shop-web-2:80/1'],
    ['_http._udp.web', 'nxdomain'],
    ['_81._tcp.web', 'nxdomain'],
    ['_http._tcp.db', 'nxdomain'],
    ['_http._tcp.nosuch', 'nxdomain'],
    ['_nosuch._tcp', 'nxdomain'],
    ['_xmpp._tcp.example.com', 'upstream'],
    ['_http._tcp.www.example.org', 'nxdomain'],
  ])('SRV of %s is %s', (name, result) => {
    expect(asked(WEB, name, 'SRV')).toBe(result);
  });

  it('of services have no other types, and bring the addresses of their targets along', () => {
    expect(asked(WEB, '_http._tcp.web')).toBe('nodata');
    expect(asked(WEB, '_http._tcp.web', 'ANY')).toBe('HINFO');
    expect(asked(VAULT, '_http._tcp.web', 'SRV')).toBe('nxdomain');
    const result = lookup(zone, { name: '_http._tcp.tasks.web', type: Type.SRV, class: 1 }, WEB, 1);
    expect(lineOf(result)).toBe('shop-web-2:80/1 shop-web-1:80/1');
    expect(result.kind === 'answer' && result.additionals?.map((r) => r.name)).toEqual(['shop-web-1', 'shop-web-2']);
  });

  it('have the time to live of their own where it is told', () => {
    const ttl = (name: string) => {
      const result = lookup(zone, { name, type: Type.A, class: 1 }, WEB);
      return result.kind === 'answer' ? result.records.map((r) => r.ttlSeconds) : [];
    };
    expect([ttl('shop-web-1'), ttl('shop-web-2')]).toEqual([[5], [60]]);
  });

  it.each([
    ['beyond the networks, of a task that may go there', [WEB], '192.0.2.99', true],
    ['on the task’s own network', [WEB], '10.1.0.77', true],
    ['on a network the task is not on', [WEB], '10.2.0.77', false],
    ['on the loopback of the node', [WEB], '127.0.0.1', false],
    ['on the loopback of the node, IPv6', [WEB], '::1', false],
    ['beyond the networks, of a task on an internal one', [VAULT], '192.0.2.99', false],
    ['on the internal network itself', [VAULT], '10.2.0.77', true],
  ])('from outside are asked of a resolver %s: %s %s %s', (_what, addresses, upstream, may) => {
    const own = buildZone({ ...EXAMPLE, tasks: [{ id: 't', addresses, upstreams: [upstream] }] });
    const result = lookup(own, { name: 'example.com', type: Type.A, class: 1 }, addresses[0] ?? '');
    expect(result.kind).toBe(may ? 'upstream' : 'servfail');
    expect(own.views.get(addresses[0] ?? '')?.upstreams).toEqual(may ? [upstream] : []);
  });

  it('answer ANY with little', () => {
    expect(asked(WEB, 'tasks.web', 'ANY')).toBe('HINFO');
    expect(asked(WEB, 'nosuch', 'ANY')).toBe('nxdomain');
  });

  it('let questions about top-level zones out, and no transfer', () => {
    expect(asked(WEB, 'com', 'DS')).toBe('upstream');
    expect(asked(WEB, '', 'NS')).toBe('upstream');
    expect(asked(WEB, 'web', 'DS')).toBe('nodata');
    expect(asked(WEB, 'example.com', 'AXFR')).toBe('refused');
    expect(lineOf(lookup(zone, { name: 'web', type: 1, class: 3 }, WEB))).toBe('refused');
  });

  it('come in another order each turn', () => {
    expect([0, 1, 2, 3].map((turn) => asked(WEB, 'tasks.web', 'A', turn))).toEqual([
      '10.1.0.20 10.1.0.21 10.1.0.22',
      '10.1.0.21 10.1.0.22 10.1.0.20',
      '10.1.0.22 10.1.0.20 10.1.0.21',
      '10.1.0.20 10.1.0.21 10.1.0.22',
    ]);
  });
});

describe('clients', () => {
  it('on several networks get the names of all of them, of the asked one first', () => {
    expect(asked(DB_FRONT, 'vault')).toBe(VAULT);
    expect(asked(DB_BACK, 'web')).toBe('10.1.0.200');
    expect(asked(DB_FRONT, 'db')).toBe(`${DB_FRONT} ${DB_BACK}`);
    expect(asked(DB_BACK, 'db')).toBe(`${DB_BACK} ${DB_FRONT}`);
  });

  it('that are strangers get nothing', () => {
    for (const name of ['web', 'nosuch', 'example.com']) expect(asked(STRANGER, name)).toBe('refused');
    expect(asked('10.1.0.21', 'web')).toBe('refused');
  });

  it('may be the node itself', () => {
    expect(asked(NODE_FRONT, 'web')).toBe('10.1.0.200');
    expect(asked('10.2.0.1', 'vault')).toBe(VAULT);
    expect(asked('10.2.0.1', 'web')).toBe('nxdomain');
  });

  it('on internal networks only cannot ask outside', () => {
    expect(asked(VAULT, 'example.com')).toBe('servfail');
    expect(asked(VAULT, 'com', 'DS')).toBe('servfail');
    expect(asked(VAULT, '4.3.2.1.in-addr.arpa', 'PTR')).toBe('servfail');
    expect(asked(VAULT, 'web')).toBe('nxdomain');
    expect(asked(DB_BACK, 'example.com')).toBe('upstream');
  });
});

describe('reverse names', () => {
  it.each([
    ['of a task', '20.0.1.10.in-addr.arpa', 'web-1.shop_front'],
    ['of an address of ours without a name', '99.0.1.10.in-addr.arpa', 'nxdomain'],
    ['of a network of this node that it is not on', '40.0.2.10.in-addr.arpa', 'nxdomain'],
    ['of a part of our subnet', '0.1.10.in-addr.arpa', 'nodata'],
    ['of more than our subnet', '1.10.in-addr.arpa', 'upstream'],
    ['of an outside address', '8.8.8.8.in-addr.arpa', 'upstream'],
    ['that are none', 'x.10.in-addr.arpa', 'upstream'],
    ['of IPv6', `1${'.0'.repeat(30)}.2.ip6.arpa`, 'upstream'],
  ])('%s: %s is %s', (_what, name, result) => {
    expect(asked(WEB, name, 'PTR')).toBe(result);
  });

  it('have no addresses', () => {
    expect(asked(WEB, '20.0.1.10.in-addr.arpa', 'A')).toBe('nodata');
  });
});

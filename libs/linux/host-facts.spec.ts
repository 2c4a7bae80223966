import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { readHostFacts } from './host-facts.js';
import { parseSockets } from './listening-ports.js';

describe('readHostFacts', () => {
  it('reads this host, and finds a port that this process listens on', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const udp = createSocket('udp4').bind(0, '127.0.0.1');
    await once(udp, 'listening');
    try {
      const facts = await readHostFacts({ address: '127.0.0.1' });
      const { port } = server.address() as AddressInfo;
      expect(facts.listening).toContainEqual(expect.objectContaining({ protocol: 'tcp', address: '127.0.0.1', port }));
      expect(facts.listening.find((l) => l.port === port)?.process).toEqual(expect.any(String));
      expect(facts.listening).toContainEqual(expect.objectContaining({ protocol: 'udp', address: '127.0.0.1', port: udp.address().port }));
      expect(facts.underlayMtu).toBe(65_536);
      expect(facts.memoryBytes).toBeGreaterThan(2 ** 28);
      expect(facts.versions['kernel']).toMatch(/^\d+\.\d+/);
      expect(facts.versions['nft']).toMatch(/^\d+\.\d+/);
      expect(facts.versions['iproute2']).toMatch(/^\d+\.\d+/);
      for (const route of facts.routes) expect(route).toMatch(/^[\d.]+\/\d+$|^[\da-f:]+\/\d+$/);
    } finally {
      server.close();
      udp.close();
    }
  });

  it('refuses an address that no device has', async () => {
    await expect(readHostFacts({ address: '203.0.113.9' })).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });
});

describe('parseSockets', () => {
  const header = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
  it('takes listening sockets, and reads both families', () => {
    const table =
      header +
      '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x\n' +
      '   1: 0100007F:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 x\n';
    expect(parseSockets(table, 'tcp')).toEqual([{ protocol: 'tcp', address: '127.0.0.1', port: 8080, inode: '4711' }]);
    const six = `${header}   0: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 12 2 x\n`;
    expect(parseSockets(six, 'udp')).toEqual([{ protocol: 'udp', address: '::1', port: 53, inode: '12' }]);
    const mapped = `${header}   0: 0000000000000000FFFF00000100007F:0035 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 12 2 x\n`;
    expect(parseSockets(mapped, 'udp')[0]?.address).toBe('127.0.0.1');
  });
});

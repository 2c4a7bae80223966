import { createSocket } from 'node:dgram';
import { silentLog } from '#base/log.js';
import { EXAMPLE, WEB } from '#dns/example-zone.js';
import { encodeOutsideQuery } from '#dns/respond.js';
import { encodeQuestion } from '#dns/wire.js';
import { buildZone, type View } from '#dns/zone.js';
import { Answerer } from './answerer.js';
import { clientMaker } from './clients.js';
import { newCounters } from './counters.js';
import { Forwarder } from './forwarder.js';
import { UdpService } from './udp-service.js';

const HOME = '127.77.1.1';

describe('the UDP service', () => {
  it('survives a request from port 0, which no socket of ours could send', async () => {
    const counters = newCounters();
    const client = clientMaker()(HOME, buildZone(EXAMPLE).views.get(WEB) as View);
    const { socket } = new UdpService(4, () => new Map([[HOME, client]]), new Answerer(new Forwarder(), counters, silentLog), counters);
    await new Promise<void>((resolve) => socket.bind(0, HOME, resolve));
    const receiver = createSocket('udp4');
    await new Promise<void>((resolve) => receiver.bind(0, HOME, resolve));
    try {
      const question = encodeQuestion({ name: 'web', type: 1, class: 1 });
      const flags = { recursionDesired: true, authenticData: false, checkingDisabled: false, edns: undefined, limitBytes: 0 };
      const request = Buffer.from(encodeOutsideQuery({ question, ...flags }, 9));
      const from = { address: HOME, family: 'IPv4' as const, port: receiver.address().port, size: request.length };
      const answers: Buffer[] = [];
      const two = new Promise<void>((resolve) => receiver.on('message', (bytes) => answers.push(bytes) === 2 && resolve()));
      // The second answer is a kept one.
      for (const port of [from.port, 0, from.port, 0]) socket.emit('message', request, { ...from, port });
      await two;
      expect(answers[0]).toEqual(answers[1]);
      expect(counters).toMatchObject({ udpRequests: 4, dropped: 2 });
    } finally {
      socket.close();
      receiver.close();
    }
  });
});

import { applySnapshot, byKind } from '#model/view-state.js';
import { linkLines } from './files-place.js';
import { makeNetwork, makeSnapshot, makeTask, taskResource } from './spec-kit.js';

const on = (networkId: string, ipv4: string) => ({ networkId, ipv4, mac: '02:42:0a:01:00:07', aliases: [] });
const NETWORK = 'abcdef01';

function viewOf(tasks: ReturnType<typeof makeTask>[], names: { name: string; addresses: string[] }[] = []) {
  const resources = [
    ...tasks.map(taskResource),
    { kind: 'network' as const, value: makeNetwork(NETWORK) },
    ...names.map((n) => ({ kind: 'name' as const, value: { networkId: NETWORK, ...n } })),
  ];
  return byKind(applySnapshot(makeSnapshot(1, [], { resources })));
}

describe('links', () => {
  it('have the addresses of the name they stand for, on networks they share', () => {
    const web = makeTask('aaaaaaaa', {
      endpoints: [on(NETWORK, '10.1.0.7')],
      links: [
        { service: 'db', alias: 'database' },
        { container: 'Other-api-1', alias: 'api' },
        { service: 'gone', alias: 'gone' },
      ],
    });
    const names = [
      { name: 'db.shop', addresses: ['10.1.0.200'] },
      { name: 'db.blog', addresses: ['10.1.0.201'] },
      { name: 'other-api-1', addresses: ['10.1.0.9'] },
    ];
    expect(linkLines(web, viewOf([web], names))).toEqual(['10.1.0.200\tdatabase db', '10.1.0.9\tapi Other-api-1']);
  });

  it("are the tasks of this node on Docker's default bridge, where nothing has a name", () => {
    const bridge = { kind: 'bridge' as const };
    const web = makeTask('aaaaaaaa', {
      networkMode: bridge,
      endpoints: [on(NETWORK, '10.1.0.7')],
      links: [{ service: 'db', alias: 'db' }],
    });
    const db = makeTask('bbbbbbbb', { networkMode: bridge, service: 'db', name: 'shop-db-1', endpoints: [on(NETWORK, '10.1.0.8')] });
    const foreign = makeTask('cccccccc', { networkMode: bridge, stack: 'blog', service: 'db', endpoints: [on(NETWORK, '10.1.0.9')] });
    const far = makeTask('dddddddd', {
      networkMode: bridge,
      service: 'db',
      nodeId: 'fedcba9876543210',
      endpoints: [on(NETWORK, '10.1.0.10')],
    });
    expect(linkLines(web, viewOf([web, db, foreign, far]))).toEqual(['10.1.0.8\tdb']);
  });
});

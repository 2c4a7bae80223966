import type { Publication, VipView } from '#model/node-view.js';
import { backendsOf, losesBackend } from './backends.js';

const vip = (...backends: string[]): VipView => ({ networkId: 'aaaaaaaa', service: 'web', ipv4: '10.1.0.200', backends });
const door = (...tasks: string[]): Publication => ({
  stack: 's',
  service: 'web',
  protocol: 'tcp',
  published: 8080,
  target: 80,
  backends: tasks.map((taskId) => ({ taskId, nodeId: 'bbbbbbbb', networkId: 'aaaaaaaa', ipv4: '10.1.0.7' })),
});
const of = (vips: VipView[], publications: Publication[] = []) => backendsOf({ vips, publications });

describe('the backends of a view', () => {
  it('tell a lost one from those that come', () => {
    const two = of([vip('10.1.0.7', '10.1.0.8')]);
    expect(losesBackend(two, of([vip('10.1.0.7', '10.1.0.8', '10.1.0.9')]))).toBe(false);
    expect(losesBackend(two, of([vip('10.1.0.8', '10.1.0.9')]))).toBe(true);
    expect(losesBackend(two, of([]))).toBe(true);
    expect(losesBackend(of([]), two)).toBe(false);
  });

  it('are those of published ports, too, and of both families', () => {
    expect(losesBackend(of([], [door('t1', 't2')]), of([], [door('t2')]))).toBe(true);
    const both = of([{ ...vip('10.1.0.7'), backends6: ['fd00::7'] }]);
    expect(losesBackend(both, of([vip('10.1.0.7')]))).toBe(true);
  });

  it('of two addresses are two', () => {
    const other = { ...vip('10.1.0.7'), ipv4: '10.1.0.201' };
    expect(losesBackend(of([vip('10.1.0.7'), other]), of([other]))).toBe(true);
  });
});

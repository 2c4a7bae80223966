/** What the four modes of a service have in common (Compose Deploy Specification, `mode`). */
import type { Service } from './stack.js';

/** One task on every node that fits, instead of a number of replicas. */
export const isGlobal = ({ mode }: Pick<Service, 'mode'>): boolean => mode === 'global' || mode === 'global-job';

/** Jobs run to their end, and are as wanted when they have ended well. */
export const isJob = ({ mode }: Pick<Service, 'mode'>): boolean => mode === 'replicated-job' || mode === 'global-job';

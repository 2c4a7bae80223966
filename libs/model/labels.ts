/** Labels, as the Compose Specification has them: of services, containers, networks, volumes, contents and nodes. */
import { z } from 'zod';

export const labelsSchema = z.record(z.string().min(1).max(256), z.string().max(65_536));

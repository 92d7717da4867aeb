import { backlogReady } from './queues/backlog-ready.ts'
import { fairness } from './queues/fair.ts'
import { heldClaim } from './queues/held-claim.ts'
import { limitsExceeded } from './queues/limits-exceeded.ts'
import { plainUnchanged } from './queues/plain-unchanged.ts'
import { routes10k } from './queues/routes-10k.ts'
import { status10M } from './queues/status-10m.ts'
import type { Workload } from './stand/workload.ts'

/** What queues can do beside publish and consume: backlogs, rules, limits, and that a plain queue pays for none of it. */
export const queues: readonly Workload[] = [
  backlogReady,
  heldClaim,
  status10M,
  fairness,
  limitsExceeded,
  routes10k,
  plainUnchanged,
]

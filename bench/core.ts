import { drainNoop } from './core/drain-noop.ts'
import { hotRows } from './core/hot-rows.ts'
import { idleStatements } from './core/idle-statements.ts'
import { latencyIdle } from './core/latency-idle.ts'
import { publishTx } from './core/publish-tx.ts'
import { route } from './core/route.ts'
import { wakeup32 } from './core/wakeup-32.ts'
import type { Workload } from './stand/workload.ts'

/** The durable path: publish, route, wake up, drain, rest. */
export const core: readonly Workload[] = [publishTx, route, drainNoop, latencyIdle, wakeup32, idleStatements, hotRows]

import { Posthaste } from '../index.ts'
import { brief, databaseOf, endWith } from './child.ts'
import { topology } from './shop.ts'

const { pool, database } = databaseOf(brief(), 3)
const posthaste = new Posthaste({ database, topology, service: 'shop' })

endWith(async () => {
  await posthaste.stop()
  await pool.end()
})
await posthaste.start()

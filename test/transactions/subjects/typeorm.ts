import { DataSource, type EntityManager, EntitySchema } from 'typeorm'
import type { Subject } from '../subject.ts'

const Order = new EntitySchema<{ id: string }>({
  name: 'Order',
  tableName: 'orders',
  columns: { id: { type: 'text', primary: true } },
})

export const subject: Subject<EntityManager> = {
  name: 'TypeORM',
  async open(url) {
    const dataSource = new DataSource({ type: 'postgres', url, entities: [Order] })
    await dataSource.initialize()
    const idle = dataSource.createQueryRunner()
    return {
      transaction: (work) => dataSource.transaction(work),
      insert: (manager, id) => manager.insert(Order, { id }),
      fail: (manager) => manager.query('select 1 / 0'),
      pools: [
        [dataSource, 'dataSource.transaction('],
        [dataSource.manager, 'dataSource.transaction('],
        [idle, 'dataSource.transaction('],
      ],
      [Symbol.asyncDispose]: () => dataSource.destroy(),
    }
  },
}

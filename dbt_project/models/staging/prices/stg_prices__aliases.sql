select
    provider,
    alias,
    model
from {{ source('raw', 'price_book_aliases') }}

//! The statement store on Elasticsearch 8/9 and OpenSearch 2/3.

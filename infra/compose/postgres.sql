-- Runs once, on an empty volume: the gateway owns its database and is no superuser.
\set password `cat /run/secrets/gateway_password`
CREATE ROLE gateway LOGIN PASSWORD :'password';
CREATE DATABASE gateway OWNER gateway;
